"""Translation with pairs: its terms, stages, players, what it sees and what it fills in."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch.testing import assert_close

from src.data.spec import Batch
from src.errors import SettingError
from src.models.base import LatentVariableModel
from src.models.capabilities import Judges, Translates
from src.models.paired import PairedTranslation
from tests.models.conftest import built, check_content_stays, noise, state, steps

FACES = ("data=celeba", "data.source=builtin", "data.resolution=32")
SMALL = ("model.translator.width=4", "model.translator.blocks=1", "data/degradation=downsample")
UNET = ("model.translator.width=4", "model.discriminator.width=4", "model.discriminator.depth=1")
SGD = tuple(f"model/optimizer@model.{p}_optimizer=sgd" for p in "gd")


def srgan(*words: str) -> PairedTranslation:
    d = ("model.discriminator.width=4", "model.discriminator.hidden=8")
    return built("model=srgan", *FACES, *SMALL, *d, *words)


def pix2pix(*words: str) -> PairedTranslation:
    return built("model=pix2pix", *FACES, *UNET, "data/degradation=noise", *words)


def test_what_it_can_do() -> None:
    model = pix2pix()
    assert isinstance(model, Translates)
    assert not isinstance(model, LatentVariableModel)
    assert not isinstance(model, Judges)  # D wants the source beside the sample


def test_the_two_stages() -> None:
    """Pixels alone, then all terms; a schedule runs in each of them, as it does by itself."""
    model = srgan("budget=64", "model.alone=0.5", "model/schedule=linear", "model.batch_size=8")
    seen, rates, recorded = [], [], []
    for _ in range(8):
        steps(model, 1)
        seen.append(model.stage_number or 0)
        rates.append(model._optimizers["g"].param_groups[0]["lr"])
        recorded.append(set(model.terms.fetch()))
        assert model.updates["d"] == max(0, model.iteration - 4)
    assert seen == [1] * 4 + [2] * 4
    assert rates[:4] == pytest.approx(rates[4:])
    assert rates[0] > rates[3]
    assert recorded[0] == {"loss/pixels"}
    assert recorded[4] >= {"loss/pixels", "loss/content", "loss/g", "loss/d"}


def test_the_first_stage_is_srresnet() -> None:
    """Bit for bit, so that both begin from the same place."""
    model = srgan("budget=48", "model.alone=0.5")
    alone = built("model=srresnet", *FACES, *SMALL, "budget=24")
    start = state(alone)
    for one in (model, alone):
        steps(one, 3)
    weights = {k: v for k, v in state(model).items() if k.startswith(("translator", "ema"))}
    assert weights.keys() == state(alone).keys()
    assert all(weights[k].equal(v) for k, v in state(alone).items())
    assert not all(start[k].equal(v) for k, v in state(alone).items())


@pytest.mark.parametrize("judge", [(), ("model.adversarial=0",)])
def test_all_terms_stay_if_the_budget_grows(judge: tuple[str, ...]) -> None:
    """With an adversary or a content loss alone, and after a resume."""
    words = ("budget=32", "model.alone=0.5", *judge)
    model, resumed = srgan(*words), srgan(*words)
    steps(model, 3)
    assert model.updates["d"] == (0 if judge else 1)
    checkpoint = {}
    model.on_save_checkpoint(checkpoint)
    resumed.on_load_checkpoint(checkpoint)
    for one in (model, resumed):
        one.terms.fetch()
        one.budget = 1000
        steps(one, 1)
        assert one.updates["d"] == (0 if judge else 2)
        assert "loss/content" in one.terms.fetch()
        assert (one.stage_number, one.stage_progress) == (2, 0.0)  # and never below


def test_a_resume_goes_on_with_the_same_content() -> None:
    """The path of its weights is the same, and what lies there is not."""
    check_content_stays(lambda: srgan("budget=32", "model.alone=0"))


def test_the_terms() -> None:
    """Weights on each, as the box at the top of the file says."""
    model = srgan("model.alone=0", "model.pixels.weight=3", "model.adversarial=0.25")
    model.content.weight = 0.5
    batch = next(noise(model))
    model.schedule = None
    with torch.no_grad():
        output = model.translator(batch.source)
        pixels = 3 * (output - batch.x).abs().mean()
    captured = {}
    original = model.total
    model.total = lambda terms, shown={}: captured.update(terms) or original(terms, shown)
    model.update = lambda *_: None  # no step between D's terms and G's
    model.iterate(lambda: batch)
    assert_close(captured["pixels"].detach(), pixels)
    with torch.no_grad():
        assert_close(captured["content"], 0.5 * model.content(output, batch.x))
        judged = model.adversary.g_terms(output, batch.x)
        assert_close(captured["g"].detach(), 0.25 * judged["g"])


def test_d_sees_the_source() -> None:
    """And only where it is asked to: then the same target is judged by what it belongs to."""
    model = pix2pix()
    batch = next(noise(model))
    given = model.given(batch.source)
    logits = [model.adversary(batch.x, given=x).logits for x in (given, -given)]
    assert not logits[0].equal(logits[1])
    blind = pix2pix("model.sees_source=false")
    channels = [next(iter(m.adversary.discriminator.parameters())).shape[1] for m in (model, blind)]
    assert channels == [6, 3]


def test_a_small_source_is_enlarged_for_d() -> None:
    model = pix2pix("data/degradation=downsample")
    steps(model, 1)
    assert model.given(torch.zeros(2, 3, 8, 8)).shape == (2, 3, 32, 32)


def test_each_step_has_gradients_of_its_player_only(before_step: Callable) -> None:
    model, order = pix2pix(), []

    def spy(player: str) -> None:
        order.append(player)
        own = {"g": "translator", "d": "adversary"}[player]
        for name, weight in model.named_parameters():
            if not name.startswith(own):
                assert weight.grad is None, (player, name)

    before_step(model, spy)
    steps(model, 2)
    assert order == ["d", "g"] * 2


def test_without_an_adversary_there_is_one_player() -> None:
    for words in ((), ("model=pix2pix", "model/discriminator=none")):
        model = built("model=l1_translator", *FACES, UNET[0], "data/degradation=noise", *words)
        steps(model, 1)
        assert model.updates == {"g": 1}
        assert set(model.networks) == {"translator"}
    silent = pix2pix("model.adversarial=0")
    assert silent.adversary is None
    with pytest.raises(SettingError, match="nothing to learn from"):
        pix2pix("model.adversarial=0", "model.pixels.weight=0")
    taught = pix2pix("model.pixels.weight=0")
    steps(taught, 1)
    assert "loss/pixels" not in taught.terms.fetch()


def test_what_is_known_is_kept() -> None:
    """Under a mask the translator fills in the lost part alone; gradients come from there alone."""
    model = pix2pix("data/degradation=mask_centre")
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    source = torch.cat([x, -torch.ones(3, 1, 32, 32)], 1)
    source[:, -1, 8:24, 8:24] = 1
    source[:, :3, 8:24, 8:24] = 0
    out = model.translate(source)
    lost = (source[:, -1:] > 0).expand_as(x)
    assert out[~lost].equal(x[~lost])
    assert not out[lost].equal(x[lost])
    steps(model, 1, iter([Batch(x, None, source)] * 2))


def test_translations_are_of_the_average() -> None:
    model = pix2pix()
    steps(model, 2)
    source = next(noise(model)).source
    with torch.no_grad():
        assert_close(model.translate(source), model.ema.network(source).clamp(-1, 1))
    assert not model.translate(source).equal(model.translator.eval()(source))
    before, training = state(model), model.training
    assert model.translate(source).equal(model.translate(source))  # no dropout
    assert all(before[k].equal(v) for k, v in state(model).items())
    assert model.training == training
    assert model.translate(source).abs().max() <= 1


def test_classes() -> None:
    """One-hot channels of the source and of what D sees."""
    words = ("data.label=Smiling", "model.conditional=true")
    model = pix2pix(*words)
    batches = noise(model)
    steps(model, 1, batches)
    source = next(batches).source
    outputs = [model.translate(source, torch.full((len(source),), y)) for y in (0, 1)]
    assert not outputs[0].equal(outputs[1])
    assert model.used.multiple == pix2pix().used.multiple
    with pytest.raises(SettingError, match="needs classes"):
        pix2pix("model.conditional=true")


@pytest.mark.parametrize("loss", ["relativistic_average", "relativistic", "hinge", "least_squares"])
@pytest.mark.parametrize("penalty", ["none", "r1"])
def test_all_losses_and_penalties_fit(loss: str, penalty: str) -> None:
    model = pix2pix(f"model/loss={loss}", f"model/penalty={penalty}")
    steps(model, 2)
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize(
    ("translator", "pixels", "more"),
    [
        ("srresnet_narrow", "l1", ("blocks=1",)),
        ("srresnet_narrow", "l2", ("blocks=1",)),
        ("srresnet_narrow", "charbonnier", ("blocks=1",)),
        ("rrdb_narrow", "l1", ("blocks=1", "growth=4")),
        ("unet_restore", "l1", ()),
        ("resnet", "l1", ("blocks=1",)),
    ],
)
def test_it_learns(translator: str, pixels: str, more: tuple[str, ...]) -> None:
    """To undo what is always the same: the source is the negative of the target."""
    words = ("model.schedule.lr=[1,1]", "model.g_optimizer.lr=0.003")
    size = [f"model.translator.{word}" for word in ("width=8", *more)]
    model = built(
        "model=srresnet", f"model/translator={translator}", f"model/pixels={pixels}", *FACES,
        "data/degradation=noise", *size, *words,
    )  # fmt: skip
    distance = []

    def negatives() -> Iterator[Batch]:
        for batch in noise(model, 8):
            x = torch.nn.functional.avg_pool2d(batch.x, 8).repeat_interleave(8, 2)
            x = x.repeat_interleave(8, 3)
            yield Batch(x, None, -x)

    batches = negatives()
    test = next(batches)
    for _ in range(2):
        distance.append(float((model.translate(test.source) - test.x).abs().mean()))
        steps(model, 40, batches)
    distance.append(float((model.translator(test.source) - test.x).abs().mean()))
    assert distance[-1] < 0.7 * distance[0]


def single_view(*words: str) -> PairedTranslation:
    narrow = ("encoder", "generator")
    widths = [f"model.translator.{part}.width=2" for part in narrow]
    d = ("model/discriminator=voxel", "model.discriminator.width=2")
    data = ("data=solids", "data.resolution=16", "data.size=40", "data/degradation=view")
    return built("model=single_view_gan", *data, "data.degradation.side=28", *widths, *d, *words)


@pytest.mark.parametrize("conditional", [False, True])
def test_pictures_to_voxels(conditional: bool) -> None:
    """Alone, and then against a D that sees voxels only."""
    words = ("budget=32", "model.batch_size=8", "model.alone=0.5", "model.adversarial=0.5")
    model = single_view(*words, f"model.conditional={conditional}")
    steps(model, 4)
    assert model.updates == {"g": 4, "d": 2}
    assert {"loss/pixels", "loss/g", "loss/d", "loss/penalty"} <= model.terms.fetch().keys()
    labels = torch.tensor([0, 1]) if conditional else None
    x = model.translate(torch.zeros(2, 1, 28, 28), labels)
    assert x.shape == (2, 1, 16, 16, 16)
    assert 0 <= x.min() <= x.max() <= 1


def test_d_cannot_see_a_picture_beside_voxels() -> None:
    with pytest.raises(SettingError, match=r"model\.sees_source=false"):
        single_view("model.sees_source=true")


def test_weights_are_clipped_after_each_step_of_d() -> None:
    model = pix2pix("model/loss=wasserstein", "model/penalty=clip", "model.penalty.limit=0.001")
    steps(model, 1)
    for d in [model.adversary]:
        assert max(float(w.abs().max()) for w in d.discriminator.parameters()) < 0.0011
