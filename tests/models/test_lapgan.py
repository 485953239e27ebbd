"""LAPGAN: levels that learn apart, on real coarse images, and sample one after the other."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from src.data.spec import Batch
from src.errors import SettingError
from src.models.lapgan import LAPGAN
from src.transforms.pyramid import double, halve, shrink
from tests.models.conftest import built, noise, state, steps

TINY = (
    *("model=lapgan", "data=mnist", "model.batch_size=8", "model.latent.dim=6", "budget=96"),
    *("model/generator=mlp", "model/discriminator=mlp"),
    *("model.generator.hidden=[8]", "model.discriminator.hidden=[8]"),
    *("model.level_generator.width=4", "model.level_discriminator.width=4"),
    "model.level_discriminator.dropout=0",
)
SIDES = (7, 14, 28)
SGD = [f"model/optimizer@model.{player}_optimizer=sgd" for player in "gd"]


def tiny(*words: str) -> LAPGAN:
    return built(*TINY, *words)


def sources(model: LAPGAN) -> dict[int, Tensor]:
    """The last input of each level's generator, filled as the model is used."""
    seen: dict[int, Tensor] = {}
    for k, network in enumerate(model.generators):
        network.register_forward_pre_hook(lambda _, inputs, k=k: seen.__setitem__(k, inputs[0]))
    return seen


# Samples


@pytest.mark.parametrize(
    ("words", "resolutions"),
    [
        ([], [7, 14, 28]),
        (["model.coarsest=14"], [14, 28]),
        (["data.resolution=32"], [8, 16, 32]),
        (["data=celeba"], [8, 16, 32, 64]),
        (["data=stacked_mnist"], [7, 14, 28]),
        (["model/generator=dcgan", "model/discriminator=dcgan"], [7, 14, 28]),
    ],
)
def test_samples(words: list[str], resolutions: list[int]) -> None:
    base = [word for word in TINY if "dcgan" not in str(words) or "hidden" not in word]
    model = built(*base, *words)
    assert model.resolutions == resolutions
    steps(model, 2)
    z = model.latents(3, seed=0)
    assert z.shape == (3, 6 + sum(r * r for r in resolutions[1:]))
    images = model.images(z)
    assert [image.shape for image in images] == [
        (3, model.spec.shape[0], r, r) for r in resolutions
    ]
    assert all(image.abs().max() <= 1 for image in images)
    assert model.sample(3, seed=0).equal(images[-1])
    assert model.decode(z).equal(images[-1])
    assert not model.sample(3, seed=1).equal(images[-1])
    assert {name for name in model.terms.fetch() if name.startswith("loss/g")} == {
        f"loss/g_{r}" for r in resolutions
    }


def test_sampling_goes_from_coarse_to_fine() -> None:
    """Each level gets the image below it, enlarged, and its own plane of noise."""
    model = tiny("model.ema=null")
    seen = sources(model)
    z = model.latents(4, seed=0)
    images = model.images(z)
    assert seen[0].equal(z[:, :6])
    assert seen[1].equal(torch.cat([double(images[0]), z[:, 6 : 6 + 196].view(4, 1, 14, 14)], 1))
    assert seen[2].equal(torch.cat([double(images[1]), z[:, 6 + 196 :].view(4, 1, 28, 28)], 1))
    # A finer plane bears on its own level only, z of the coarsest on all.
    other = model.latents(4, seed=1)
    fine = model.images(torch.cat([z[:, :-784], other[:, -784:]], 1))
    assert [a.equal(b) for a, b in zip(images, fine, strict=True)] == [True, True, False]
    coarse = model.images(torch.cat([other[:, :6], z[:, 6:]], 1))
    assert not any(a.equal(b) for a, b in zip(images, coarse, strict=True))


def test_a_residual_of_nothing_leaves_the_enlarged_image() -> None:
    model = tiny("model.ema=null")
    for network in model.generators[1:]:
        nn.init.zeros_(network.body[-1].weight)
        nn.init.zeros_(network.body[-1].bias)
    coarse, middle, fine = model.images(model.latents(4, seed=0))
    assert_close(middle, double(coarse))
    assert_close(fine, double(middle))


def test_samples_come_from_the_average() -> None:
    model = tiny("model.ema.half_life=1000000", "model.ema.ramp=null")
    before = model.sample(4, seed=0)
    steps(model, 2)
    assert (model.sample(4, seed=0) - before).abs().mean() < 1e-3
    model.ema = None
    assert (model.sample(4, seed=0) - before).abs().mean() > 1e-3


# Learning


@pytest.mark.parametrize("share", [False, True])
def test_each_step_has_gradients_of_its_player_only(share: bool, before_step: Callable) -> None:
    model = tiny(f"model.latent.share={share}")
    players = {}
    for r, d, g in zip(SIDES, model.adversaries, model.generators, strict=True):
        players |= {f"d_{r}": set(d.parameters()), f"g_{r}": set(g.parameters())}
    order = []

    def spy(player: str) -> None:
        order.append(player)
        reached = {weight for weight in model.parameters() if weight.grad is not None}
        assert reached == players[player]

    before_step(model, spy)
    steps(model, 1)
    assert order == ["d_7", "g_7", "d_14", "g_14", "d_28", "g_28"]
    assert all(weight.grad is None for weight in model.parameters())
    assert all(weight.requires_grad for d in model.adversaries for weight in d.parameters())
    assert model.samples_seen == 8


def test_levels_learn_on_real_coarse_images() -> None:
    model = tiny("model.ema=null")
    model.iteration = 1  # in which no samples are drawn for the drift
    seen, batches = sources(model), noise(model)
    x = next(batches).x
    steps(model, 1, iter([Batch(x)]))
    assert seen[2][:, :1].equal(double(halve(x)))
    assert seen[1][:, :1].equal(double(halve(halve(x))))
    assert all(0.9 < seen[k][:, 1].abs().max() <= 1 for k in (1, 2))  # U(-1, 1)


def test_noise_on_the_coarse_images() -> None:
    """Of the standard deviation asked for, in training alone; D sees what G sees."""
    model = tiny("model.condition_noise=0.5", "model.ema=null")
    model.iteration = 1
    seen = sources(model)
    judged: list[Tensor] = []
    model.adversaries[2].discriminator.register_forward_pre_hook(
        lambda _, inputs: judged.append(inputs[0])
    )
    x = next(noise(model, 64)).x
    steps(model, 1, iter([Batch(x)]))
    # Of noise that is doubled, each pixel is a mean of 4 with weights of 9, 3, 3 and 1 sixteenths.
    error = seen[2][:, :1] - double(halve(x))
    assert error[:, :, 1:-1, 1:-1].std().item() == pytest.approx(0.5 * 10 / 16, rel=0.02)
    real, fake, again = judged
    assert real[:, :1].equal(x)
    assert real[:, 1:].equal(seen[2][:, :1])
    assert fake[:, 1:].equal(again[:, 1:])
    z = model.latents(4, seed=0)
    assert model.decode(z).equal(model.decode(z))


@pytest.mark.parametrize("sees_coarse", [False, True])
def test_the_papers_loop(sees_coarse: bool) -> None:
    """One iteration by hand, level by level (Denton et al. 2015, eq. 3 and algorithm 1)."""
    model = tiny(*SGD, "model.ema=null", f"model.sees_coarse={str(sees_coarse).lower()}")
    model.iteration = 1
    x = next(noise(model)).x
    generators = copy.deepcopy(model.generators)
    discriminators = copy.deepcopy([adversary.discriminator for adversary in model.adversaries])
    drawn = [prior.draw(8, x.device) for prior in model.priors]
    for prior, z in zip(model.priors, drawn, strict=True):
        prior.draw = lambda *_, z=z: z
    steps(model, 1, iter([Batch(x)]))

    reals = shrink(x, 2)
    for k, (g, d) in enumerate(zip(generators, discriminators, strict=True)):
        if k == 0:
            fake, beside = g(drawn[0]), []
        else:
            u = F.interpolate(reals[k - 1], scale_factor=2, mode="bilinear")
            plane = drawn[k].view(8, 1, *u.shape[2:])
            fake = u + g.body(torch.cat([u, plane], 1))
            beside = [u] if sees_coarse else []
        rates = {"lr": model._optimizers["d_7"].defaults["lr"]}
        descent = [torch.optim.SGD(network.parameters(), **rates) for network in (d, g)]

        def logits(image: Tensor, d: nn.Module = d, beside: list = beside) -> Tensor:
            return d(torch.cat([image, *beside], 1)).logits

        loss = F.softplus(-logits(reals[k])).mean() + F.softplus(logits(fake.detach())).mean()
        loss.backward()
        descent[0].step()
        loss = F.softplus(-logits(fake)).mean()
        g.zero_grad()
        loss.backward()
        descent[1].step()
        for ours, theirs in ((model.generators[k], g), (model.adversaries[k].discriminator, d)):
            assert_close(ours.state_dict(), theirs.state_dict(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ["model/penalty=r1"],
        ["model/penalty=wgan_gp", "model/loss=wasserstein"],
        ["model/loss=relativistic"],
        ["model/augment=ada"],
        ["model.clip=1"],
        ["model/schedule=linear"],
        ["model/translator@model.level_generator=srresnet_narrow"],
        [
            *("model/discriminator@model.level_discriminator=dcgan", "model/penalty=r1"),
            "model.level_discriminator.width=2",
        ],
    ],
)
def test_other_parts(words: list[str]) -> None:
    taken = words[0].split("@")[-1].split("=")[0]  # a slot with settings of its own
    model = built(*(word for word in TINY if not word.startswith(f"{taken}.")), *words)
    before = state(model)
    steps(model, 2)
    records = model.terms.fetch()
    assert all(torch.tensor(value).isfinite() for value in records.values())
    assert any(not value.equal(before[key]) for key, value in state(model).items())
    assert {f"loss/d_{r}" for r in SIDES} <= records.keys()


# In turn


def players_of(model: LAPGAN) -> list[str]:
    return [name for name, count in model.updates.items() if count]


def test_levels_in_turn() -> None:
    """12 iterations are 4 of each level, in which nothing of another changes."""
    model = tiny("model.levels=in_turn", "model.ema=null")
    model.budget = 96
    assert [stage.player for stage in model.stages] == ["g_7", "g_14", "g_28"]
    assert sum(stage.share for stage in model.stages) == pytest.approx(1)
    batches, names, progress = noise(model), [], []
    for _ in range(12):
        before = state(model)
        progress.append(model.stage_progress)
        steps(model, 1, batches)
        names.append(model.stage.name)
        changed = {
            key.split(".")[1] for key, value in state(model).items() if not value.equal(before[key])
        }
        assert changed == {str(model.stage_number - 1)}
    assert names == [f"level of {r} px" for r in SIDES for _ in range(4)]
    assert progress == pytest.approx([0, 0.25, 0.5, 0.75] * 3)
    assert dict(model.updates) == {f"{player}_{r}": 4 for r in SIDES for player in "dg"}


def test_no_level_is_gone_back_to() -> None:
    model = tiny("model.levels=in_turn")
    model.budget = 96
    steps(model, 5)
    assert model.stage_number == 2
    model.budget = 96_000  # of which those were in the first part
    steps(model, 1)
    assert model.stage_number == 2
    assert model.updates["g_7"] == 4
    # And a resumed run is where it was.
    checkpoint: dict = {}
    model.on_save_checkpoint(checkpoint)
    again = tiny("model.levels=in_turn")
    assert again.stage_number == 1
    again.on_load_checkpoint(checkpoint)
    assert again.stage_number == 2


def test_together_has_no_stages() -> None:
    model = tiny()
    assert model.stage is None
    assert model.stage_number is None


# Drift


class Oracle(nn.Module):
    """Gives the real images of its level, brighter by a shift."""

    def __init__(self, real: Tensor, shift: float) -> None:
        super().__init__()
        self.image = real + shift

    def forward(self, *_: Tensor | None) -> Tensor:
        return self.image


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_drift(shift: float) -> None:
    """None for an oracle; else by how much a level is too bright, with its sign."""
    model = tiny("model.ema=null", "data=stacked_mnist")
    reals = shrink(next(noise(model)).x / 2, 2)
    shifts = (0.0, shift, -shift)
    model.generators = nn.ModuleList(
        Oracle(real, by) for real, by in zip(reals, shifts, strict=True)
    )
    model.record_drift(reals, None)
    records = model.terms.fetch()
    assert set(records) == {f"drift/level_{r}_{c}" for r in SIDES for c in range(3)}
    for r, by in zip(SIDES, shifts, strict=True):
        for c in range(3):
            assert records[f"drift/level_{r}_{c}"] == pytest.approx(by, abs=1e-6)


def test_drift_is_recorded_now_and_then() -> None:
    """In the first iteration and the seventeenth; one channel needs no number."""
    model, batches, found = tiny(), noise(tiny()), []
    for _ in range(18):
        steps(model, 1, batches)
        found.append({name for name in model.terms.fetch() if name.startswith("drift")})
    drift = {f"drift/level_{r}" for r in SIDES}
    assert found == [drift if i in (0, 16) else set() for i in range(18)]


# Classes


def test_classes() -> None:
    model = tiny("model.conditional=true", "model.ema=null")
    steps(model, 2)
    z = model.latents(1, seed=0).repeat(10, 1)
    images = model.images(z, torch.arange(10))
    # The class bears on the coarsest level, and on a finer one for the same coarse image too.
    assert (images[0][1:] - images[0][:1]).abs().flatten(1).amax(1).min() > 0
    source = torch.cat([torch.zeros(10, 1, 14, 14), torch.zeros(10, 1, 14, 14)], 1)
    fine = model.generators[1](source, torch.arange(10))
    assert (fine[1:] - fine[:1]).abs().flatten(1).amax(1).min() > 0
    judged = model.adversaries[1](torch.zeros(10, 1, 14, 14), torch.arange(10), source[:, :1])
    assert len(set(judged.logits.tolist())) == 10
    assert model.sample(12, seed=0).equal(model.sample(12, labels=torch.arange(12) % 10, seed=0))


def test_a_model_without_classes_takes_none() -> None:
    model = tiny()
    x = next(noise(model)).x
    steps(model, 1, iter([Batch(x, torch.zeros(8, dtype=torch.long))]))
    assert model.updates["g_28"] == 1


# Refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model.coarsest=8"],
            "8: halving 28 px does not lead there.\nFrom 28 px it leads to 14, 7.",
        ),
        (["data.resolution=33"], "Use an even data.resolution"),
        (["model.coarsest=28"], "model.coarsest=28: halving 28 px"),
        (["data.resolution=32", "model.coarsest=7"], "model.coarsest=7: halving 32 px"),
        (["data=celeba", "model.conditional=true"], "model.conditional=true needs classes"),
        (["model/latent=codes"], "model/latent=codes"),
        (["model.level_generator.kernel=4"], "level_generator.kernel=4 must be odd"),
        (["model.level_discriminator.kernel=2"], "level_discriminator.kernel=2 must be odd"),
    ],
)
def test_refused(words: list[str], message: str) -> None:
    base = [word for word in TINY if word != "model.latent.dim=6" or "codes" not in words[0]]
    with pytest.raises(SettingError, match=message) as caught:
        built(*base, *words)
    assert len(str(caught.value).splitlines()) <= 3


def test_weights_are_clipped_after_each_step_of_d() -> None:
    model = tiny("model/loss=wasserstein", "model/penalty=clip", "model.penalty.limit=0.001")
    steps(model, 1)
    for d in model.adversaries:
        assert max(float(w.abs().max()) for w in d.discriminator.parameters()) < 0.0011
