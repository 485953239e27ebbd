"""The stages: which comes when, what each moves, what it starts from, and what it is told."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.config.checks import check
from src.config.composition import compose, plain
from src.data.spec import Batch, Split
from src.errors import SettingError
from src.losses.reconstruction import Bernoulli
from src.models.layerwise import Layerwise
from src.models.parts.finetuning import balanced
from src.runs.metrics_file import read_metrics
from src.training.checkpoints import load_checkpoint
from src.training.instantiate import build_data
from tests.conftest import UNDRAWN, Fit, composed
from tests.models.conftest import built, noise, state, steps

SMALL = ("data=mnist", "model.hidden=[7,5,3]")
# 8 samples an iteration: layers learn in 2 iterations each, the rest lasts 6.
RECONSTRUCT = ("model=stacked_ae", *SMALL, "budget=96", "model.pretrain=0.5")
DEEP = ("model=deep_ae", *SMALL, "budget=96", "model.pretrain=0.5")
# The same, and a third of the rest for the softmax layer.
CLASSIFY = (
    *("model=stacked_denoising_ae", *SMALL, "budget=96", "model.pretrain=0.5"),
    f"model.finetune.head={1 / 3}",
)
ALL = pytest.mark.parametrize("preset", [RECONSTRUCT, DEEP, CLASSIFY], ids=lambda words: words[0])


def moved(model: Layerwise, n: int) -> set[str]:
    """Weights that n iterations change, by the first two names of each, without the prior."""
    before = state(model)
    steps(model, n)
    after = state(model)
    changed = {key for key, value in after.items() if not value.equal(before[key])}
    return {
        ".".join(key.split(".")[: 3 if "layers" in key else 2])
        for key in changed
        if not key.startswith("prior.")
    }


# Which stage comes when


def test_stages_are_shares_of_the_budget() -> None:
    model = built(*CLASSIFY)
    seen = []
    for _ in range(12):
        steps(model)
        seen.append((model.samples_seen, model.stage.name, model.stage_number, len(model.stages)))
    names = ["layer 1 of 3"] * 2 + ["layer 2 of 3"] * 2 + ["layer 3 of 3"] * 2
    names += ["classifier"] * 2 + ["fine-tuning"] * 4
    indices = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5]
    assert seen == [(8 * k + 8, names[k], indices[k], 5) for k in range(12)]
    assert model.updates == {
        **{"layer_1": 2, "layer_2": 2, "layer_3": 2},
        **{"classifier": 2, "fine_tuning": 4},
    }
    assert list(model.terms.fetch()) == [f"loss/{player}" for player in model.updates]


def test_without_pretraining() -> None:
    model = built(*RECONSTRUCT, "model.pretrain=0")
    assert (model.stage.name, model.stage_number, len(model.stages)) == ("fine-tuning", 4, 4)
    stack = model.stack
    expected = stack.encoder().state_dict(), stack.decoder().state_dict()
    x = next(noise(model)).x
    assert_close(model.reconstruct(x), model.reconstruction.mean(stack.down(stack.up(x))))
    assert_close(model.finetune.encoder.state_dict(), expected[0])
    assert_close(model.finetune.decoder.state_dict(), expected[1])
    assert moved(model, 12) == {"finetune.encoder", "finetune.decoder"}
    assert model.updates == {"fine_tuning": 12}


def test_pretraining_alone() -> None:
    model = built(*RECONSTRUCT, "model.pretrain=1")
    steps(model, 12)
    assert (model.stage.name, model.stage_number) == ("layer 3 of 3", 3)
    assert not model.unrolled
    assert model.sample(2).shape == (2, 1, 28, 28)


def test_a_batch_may_be_longer_than_a_stage() -> None:
    """The stages in between are left out, but not that the layers are copied."""
    model = built(*CLASSIFY, "budget=16")
    steps(model, 2)
    assert model.updates == {"layer_1": 1, "classifier": 1}
    assert_close(model.finetune.body.state_dict(), model.stack.encoder().state_dict())
    model = built(*CLASSIFY, "budget=8")
    steps(model, 2, noise(model, 6))
    assert model.updates == {"layer_1": 1, "fine_tuning": 1}


def test_a_longer_budget_does_not_lead_back() -> None:
    model = built(*RECONSTRUCT)
    steps(model, 8)
    model.budget *= 4
    assert moved(model, 2) == {"finetune.encoder", "finetune.decoder"}


def test_the_classifier_may_learn_with_all_from_the_start() -> None:
    model = built(*CLASSIFY, "model.finetune.head=0")
    steps(model, 12)
    assert model.updates == {"layer_1": 2, "layer_2": 2, "layer_3": 2, "fine_tuning": 6}
    assert not model.finetune.body[1].weight.equal(model.stack.layers[0].weight)


# What each stage moves, and what it starts from


@ALL
def test_a_layer_learns_alone(preset: tuple[str, ...]) -> None:
    model = built(*preset)
    for k in range(3):
        assert moved(model, 2) == {f"stack.layers.{k}"}


@ALL
def test_the_loss_of_a_layer_is_of_what_those_below_make_of_x(preset: tuple[str, ...]) -> None:
    model = built(*preset)
    steps(model, 4)
    x = next(noise(model)).x
    seen, learn = [], model.stack.layers[2].learn
    model.stack.layers[2].learn = lambda *words: seen.append(words[0]) or learn(*words)
    steps(model, 1, iter([Batch(x)]))
    first, second, _ = model.stack.layers
    v = ((x.flatten(1) + 1) / 2 @ first.weight.T + first.hidden_bias).sigmoid()
    v = (v @ second.weight.T + second.hidden_bias).sigmoid()
    assert_close(seen, [v])
    assert not seen[0].requires_grad


@pytest.mark.parametrize(
    "words",
    [
        (*RECONSTRUCT, "model/reconstruction=squared_error"),
        RECONSTRUCT,
        DEEP,
        (*DEEP, "model/reconstruction=gaussian_learned"),
    ],
)
def test_unrolled_it_is_the_stack(words: tuple[str, ...]) -> None:
    """The first step of fine-tuning starts from what the layers have learned, exactly."""
    model = built(*words)
    steps(model, 6)
    x = next(noise(model)).x
    codes, again = model.encode(x), model.reconstruct(x)
    model._optimizers["fine_tuning"].param_groups[0]["lr"] = 0.0
    model.schedule = None
    steps(model, 1)
    assert model.unrolled
    assert_close(model.encode(x), codes)
    assert_close(model.reconstruct(x), again, rtol=1e-5, atol=1e-6)
    model._optimizers["fine_tuning"].param_groups[0]["lr"] = 0.01
    expected = {"finetune.encoder", "finetune.decoder"}
    if "model/reconstruction=gaussian_learned" in words:
        expected.add("reconstruction.log_variance")
    assert moved(model, 1) == expected
    assert not model.reconstruct(x).equal(again)


def test_fine_tuning_by_hand() -> None:
    """Against a loop with the unrolled network written out."""
    model = built(*DEEP, "model/schedule=none")
    steps(model, 6)
    encoder, decoder = model.stack.encoder(), model.stack.decoder()
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=model._optimizers["fine_tuning"].defaults["lr"])
    batches = noise(model, seed=1)
    for _ in range(3):
        x = next(batches).x
        optimizer.zero_grad()
        Bernoulli().loss(decoder(encoder(x)), x).mean().backward()
        optimizer.step()
    steps(model, 3, noise(model, seed=1))
    assert_close(model.finetune.encoder.state_dict(), encoder.state_dict())
    assert_close(model.finetune.decoder.state_dict(), decoder.state_dict())


def test_a_boltzmann_machine_by_hand() -> None:
    """Two iterations of the first layer: momentum, weight cost, and the noise of each iteration."""
    model = built(*DEEP, "model/schedule=none", "seed=3")
    layer, batches = model.stack.layers[0], noise(model, seed=1)
    weight, c, b = (p.detach().clone() for p in layer.parameters())
    speed = [torch.zeros_like(p) for p in (weight, c, b)]
    for iteration in range(2):
        v = (next(batches).x.flatten(1) + 1) / 2
        model.seed_noise((3 * 0x9E3779B1 + iteration) % 2**32)
        p = (v @ weight.T + c).sigmoid()
        again = (p.bernoulli() @ weight + b).sigmoid()
        q = (again @ weight.T + c).sigmoid()
        steps_up = (
            (p.T @ v - q.T @ again) / len(v) - layer.weight_cost * weight,
            (p - q).mean(0),
            (v - again).mean(0),
        )
        for parameter, velocity, step in zip((weight, c, b), speed, steps_up, strict=True):
            velocity.mul_(0.9).add_(step)
            parameter.add_(0.1 * velocity)
    steps(model, 2, noise(model, seed=1))
    assert_close(list(layer.parameters()), [weight, c, b], check_device=False, rtol=1e-4, atol=1e-5)


def test_the_classifier_learns_alone_and_then_with_all() -> None:
    model = built(*CLASSIFY)
    steps(model, 6)
    assert not model.classify(next(noise(model)).x).any()  # it has learned nothing
    assert moved(model, 2) == {"finetune.body", "finetune.head"}  # copied, not moved:
    assert_close(model.finetune.body.state_dict(), model.stack.encoder().state_dict())
    assert moved(model, 4) == {"finetune.body", "finetune.head"}
    assert not model.finetune.body[1].weight.equal(model.stack.layers[0].weight)


def test_the_softmax_layer_by_hand() -> None:
    model = built(*CLASSIFY, "model/schedule=none")
    steps(model, 6)
    head = nn.Linear(3, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam(
        head.parameters(), lr=model._optimizers["classifier"].defaults["lr"]
    )
    batches = noise(model, seed=1)
    for _ in range(2):
        x, y, _ = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(head(model.encode(x)), y).backward()
        optimizer.step()
    steps(model, 2, noise(model, seed=1))
    assert_close(model.finetune.head.state_dict(), head.state_dict())
    assert_close(model.classify(x), head(model.encode(x)))


def test_the_autoencoder_stays_while_classes_are_learned() -> None:
    model = built(*CLASSIFY)
    steps(model, 6)
    x = next(noise(model)).x
    again, drawn = model.reconstruct(x), model.sample(3, seed=0)
    steps(model, 6)
    assert model.reconstruct(x).equal(again)
    assert model.sample(3, seed=0).equal(drawn)


@ALL
def test_it_can_be_used_in_every_stage(preset: tuple[str, ...]) -> None:
    model = built(*preset)
    x = next(noise(model)).x
    for _ in range(12):
        codes = model.encode(x)
        assert codes.shape == (8, 3)
        assert_close(model.encoder(x), codes)
        assert_close(model.reconstruct(x), model.decode(codes))
        samples = model.sample(4, seed=0)
        assert samples.shape == (4, 1, 28, 28)
        assert samples.abs().max() <= 1
        assert (model.classifier is not None) == (preset is CLASSIFY)
        if preset is CLASSIFY:
            assert model.classify(x).shape == (8, 10)
        steps(model)


@ALL
def test_the_law_sees_codes_of_the_whole_stack(preset: tuple[str, ...]) -> None:
    model = built(*preset)
    steps(model, 4)
    assert model.prior.seen == 0
    x = next(noise(model)).x
    codes = model.encode(x)
    steps(model, 1, iter([Batch(x)]))
    assert_close(model.prior.codes[:8], codes)
    steps(model, 7)
    assert model.prior.seen == (16 if preset is CLASSIFY else 64)


# Learning rates


def test_the_rate_falls_within_each_stage() -> None:
    model, rates = built(*RECONSTRUCT), []
    for _ in range(12):
        steps(model)
        player = model.stage.player
        optimizer = model._optimizers[player]
        rates.append(optimizer.param_groups[0]["lr"] / optimizer.defaults["lr"])
    assert rates[:6] == pytest.approx([1, 0.5] * 3)
    assert rates[6:] == pytest.approx([1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873])


def test_the_code_layer_may_have_a_rate_of_its_own() -> None:
    model = built(*DEEP)
    rates = [optimizer.defaults["lr"] for optimizer in model._optimizers.values()]
    assert rates == [0.1, 0.1, 0.001, 0.001]
    assert len({id(optimizer) for optimizer in model._optimizers.values()}) == 4


# Labels


def test_a_balanced_choice() -> None:
    y = torch.tensor([0] * 50 + [1] * 3 + [2] * 50)
    images = Split(torch.arange(len(y)), y)
    few = balanced(images, 13, seed=0)
    assert few.y.bincount().tolist() in ([5, 3, 5],)
    assert few.x.unique().numel() == 13
    assert y[few.x].equal(few.y)
    assert few.x.equal(balanced(images, 13, seed=0).x)
    assert not few.x.equal(balanced(images, 13, seed=1).x)
    assert sorted(balanced(images, 7, seed=0).y.bincount().tolist()) == [2, 2, 3]
    assert balanced(images, len(y), seed=0).x.sort().values.equal(images.x)


def test_only_labelled_images_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers learn from the stream, the classifier from 20 images of it, in turn."""
    words = (*CLASSIFY, "model.finetune.labelled=20", "model.batch_size=8")
    model = built(*words)
    data = build_data(plain(composed(*words)))
    data.setup()
    told = []

    def batch(draw: Callable, original: Callable = model.finetune.batch) -> Batch:
        drawn = original(draw)
        told.extend(zip(drawn.x, drawn.y, strict=True))
        return drawn

    model.finetune.begin(data, model.seed, model.device, 0)
    monkeypatch.setattr(model.finetune, "batch", batch)
    taken = []

    def batches() -> Batch:
        taken.append(1)
        return next(noise(model))

    steps(model, 11, iter(batches, None))
    assert len(taken) == 6
    images, classes = map(torch.stack, zip(*told, strict=True))
    assert len(images) == 40
    few = images.flatten(1).unique(dim=0)
    assert len(few) == 20
    assert classes[:20].bincount().tolist() == [2] * 10
    assert_close(images[20:].sum(0), images[:20].sum(0), rtol=1e-4, atol=1e-4)  # an epoch each
    again = built(*words)
    again.finetune.begin(data, again.seed, again.device, 2)
    assert again.finetune.batch(batches).x.equal(images[16:24])


def test_more_labels_than_images(fit: Fit) -> None:
    with pytest.raises(SettingError, match=r"labelled=5000: there are 1498 images"):
        fit(*CLASSIFY, "model.finetune.labelled=5000")


def test_classes_are_needed() -> None:
    with pytest.raises(SettingError, match="needs classes and the data have none"):
        built(*CLASSIFY, "data=celeba", "data.label=null")


# Errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.hidden=[]"], "at least one"),
        (["model.hidden=[5,0]"], r"hidden=\[5, 0\] must be .* above 0"),
        (["model.pretrain=1.5"], "pretrain=1.5"),
        (["model/reconstruction=unbounded"], "sigmoid units"),
        (["model/finetune=classify", "model.finetune.head=2"], "head=2"),
        (["model/finetune=classify", "model.finetune.labelled=0"], "labelled=0"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        built("model=stacked_ae", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=deep_ae", "data=ring"], "data.kind=points"),
        (["model=deep_ae", "model/corruption=masking"], "model.corruption"),
    ],
)
def test_what_cannot_be_is_refused_at_composition(words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check(compose("train", words))


# In the trainer


def test_a_run(fit: Fit) -> None:
    """One count of Lightning's per iteration, the stage in the curves and in the checkpoint."""
    words = ("model.batch_size=100", "budget=2000", "callbacks.records.every=100")
    run = fit("model=deep_ae", *SMALL, *words, *UNDRAWN, "model.pretrain=0.6")
    checkpoint = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 20
    assert checkpoint["sparring"]["stage"] == 3
    rows = read_metrics(run / "metrics.csv")
    assert [row["stage"] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 8
    assert run.summary["updates"] == {"layer_1": 4, "layer_2": 4, "layer_3": 4, "fine_tuning": 8}


@pytest.mark.parametrize("preset", [RECONSTRUCT, DEEP, CLASSIFY], ids=lambda words: words[0])
def test_errors_fall_in_every_stage(preset: tuple[str, ...], fit: Fit) -> None:
    words = ("model.hidden=[64,32]", "budget=60_000", "callbacks.records.every=1_000")
    words += (*UNDRAWN, "model.finetune_optimizer.lr=0.01")
    run = fit(*preset, *words)
    rows = read_metrics(run / "metrics.csv")
    for player in run.summary["updates"]:
        losses = [row[f"loss/{player}"] for row in rows if f"loss/{player}" in row]
        assert losses[-1] < 0.95 * losses[0], player
