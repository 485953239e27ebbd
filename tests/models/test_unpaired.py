"""Translation without pairs: its terms, players, pools, and what it refuses."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from src.data.spec import Batch
from src.errors import SettingError
from src.models.capabilities import Translates
from src.models.parts.pool import ImagePool
from src.models.unpaired import UnpairedTranslation
from src.networks.base import Critique
from tests.models.conftest import built, check_content_stays, noise, state, steps

SMALL = ("model.translator.width=4", "model.translator.blocks=1", "model.discriminator.width=4")
FACES = ("data=celeba", "data.source=builtin", "data.resolution=16", "data/degradation=noise")


def cyclegan(*words: str) -> UnpairedTranslation:
    return built("model=cyclegan", *FACES, *SMALL, "model.discriminator.depth=1", *words)


def test_what_it_can_do() -> None:
    model = cyclegan()
    assert isinstance(model, Translates)
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    forth, back = model.translate(x), model.translate_back(x)
    assert forth.shape == back.shape == x.shape
    assert forth.abs().max() <= 1
    assert not forth.equal(back)


def test_each_player_has_its_own_weights(before_step: Callable) -> None:
    model = cyclegan("model.ema=null")
    parts = {"g": model.translators, "d": model.adversaries}
    stepped = []

    def spy(name: str) -> None:
        stepped.append(name)
        assert all(w.grad is not None for w in parts[name].parameters())
        other = parts["d" if name == "g" else "g"]
        assert all(w.grad is None for w in other.parameters())

    before_step(model, spy)
    steps(model, 2)
    assert stepped == ["g", "d"] * 2
    assert model.samples_seen == 16


class Affine(nn.Module):
    """a x + b in the place of a translator."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), b

    def forward(self, x: Tensor, _: Tensor | None = None) -> Tensor:
        return self.a * x + self.b


class Pixelwise(nn.Module):
    """A discriminator of colours."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))

    def forward(self, x: Tensor, _: Tensor | None = None) -> Critique:
        return Critique(self.layers(x).mean((1, 2, 3)), x)


def terms_of(model: UnpairedTranslation, batch: Batch) -> dict[str, float]:
    captured: dict[str, Tensor] = {}
    model.total = lambda terms, shown={}: captured.update(terms) or sum(terms.values())  # noqa: ARG005
    model.update = lambda *_: None
    model.iterate(lambda: batch)
    return {name: float(term.detach()) for name, term in captured.items()}


def test_the_terms() -> None:
    """Of translators that undo each other the cycle costs nothing, and of others what it says."""
    model = cyclegan("model.ema=null", "model.cycle=10", "model.identity=5", "model.adversarial=2")
    batch = next(noise(model))
    model.translators["target"], model.translators["source"] = Affine(0.5, 0.25), Affine(2.0, -0.5)
    found = terms_of(model, batch)
    assert found["cycle_target"] == pytest.approx(0, abs=1e-5)
    assert found["cycle_source"] == pytest.approx(0, abs=1e-5)
    wrong = float((0.5 * batch.x + 0.25 - batch.x).abs().mean())
    assert found["identity_target"] == pytest.approx(5 * wrong, rel=1e-5)
    with torch.no_grad():
        judged = model.adversaries["target"].g_terms(0.5 * batch.source + 0.25, batch.x)["g"]
    assert found["g_target"] == pytest.approx(2 * float(judged), rel=1e-5)
    model.translators["source"] = Affine(2.0, 0.0)  # no longer the inverse
    found = terms_of(model, batch)
    assert found["cycle_source"] == pytest.approx(10 * 0.5, rel=1e-5)
    assert found["cycle_target"] == pytest.approx(10 * 0.25, rel=1e-5)


def test_the_step_by_hand() -> None:
    """The cycles' gradients go through both translators, and the adversaries' stay with theirs."""
    model = cyclegan(
        *(f"model/optimizer@model.{player}_optimizer=sgd" for player in "gd"),
        *(f"model.{player}_optimizer.lr=0.01" for player in "gd"),
        *("model.ema=null", "model.pool=0", "model.cycle=10", "model.identity=5"),
        "model.adversarial=2",
    )
    t, s = (copy.deepcopy(model.translators[domain]) for domain in ("target", "source"))
    d, e = (copy.deepcopy(model.adversaries[each].discriminator) for each in ("target", "source"))
    players = {"g": nn.ModuleList([t, s]), "d": nn.ModuleList([d, e])}
    batches = noise(model)

    def step(player: str, loss: Tensor) -> None:
        weights = list(players[player].parameters())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(gradient, alpha=0.01)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().mean()

    for _ in range(2):
        x, _, source = next(batches)
        there, back = t(source), s(x)
        fooled = (d(there).logits - 1).square().mean() + (e(back).logits - 1).square().mean()
        cycles = distance(s(there), source) + distance(t(back), x)
        step("g", 2 * fooled + 10 * cycles + 5 * (distance(t(x), x) + distance(s(source), source)))
        told = [(d, x, there.detach()), (e, source, back.detach())]
        step("d", sum((j(real).logits - 1).square().mean() + j(fake).logits.square().mean()
                      for j, real, fake in told))  # fmt: skip
    before = state(model)
    steps(model, 2)
    for player, ours in (("g", model.translators), ("d", model.adversaries)):
        for mine, other in zip(ours.parameters(), players[player].parameters(), strict=True):
            assert_close(mine, other, rtol=1e-4, atol=1e-6)
    assert not all(before[name].equal(after) for name, after in state(model).items())


def test_it_is_not_told_which_belong_together() -> None:
    """Other sources of the same batch give the same losses, but for the order of sums."""
    batch = next(noise(cyclegan()))
    shuffled = Batch(batch.x, None, batch.source[torch.randperm(8)])
    one, other = (terms_of(cyclegan("model.pool=0"), each) for each in (batch, shuffled))
    assert one == pytest.approx(other, rel=1e-4)


def test_terms_can_be_left_out() -> None:
    found = terms_of(cyclegan("model.cycle=0", "model.identity=0"), next(noise(cyclegan())))
    assert set(found) == {"g_target", "g_source", "d_target", "d_source"}


def test_what_is_read_of_a_source_stays() -> None:
    """Each translation beside its own source; and a resume insists on the same network."""
    words = ("model/content=classifier", "model.content.weight=3", "model.ema=null")
    model = cyclegan(*words)
    model.on_fit_start()
    batch = next(noise(model))
    model.translators["target"], model.translators["source"] = Affine(0.5, 0.25), Affine(1.0, 0.0)
    found = terms_of(model, batch)
    changed = model.content(0.5 * batch.source + 0.25, batch.source)
    assert found["content_target"] == pytest.approx(3 * float(changed), rel=1e-5)
    assert changed > 0
    assert found["content_source"] == 0
    check_content_stays(lambda: cyclegan(*words))


def test_it_learns_to_undo_a_change() -> None:
    """Inverted colours, without pairs, and both ways.

    Each channel has a distribution of its own, or channels could change places unseen.
    """
    torch.manual_seed(0)
    model = cyclegan("model.ema=null", "model.identity=0", "model/schedule=none")
    for name in ("target", "source"):
        model.translators[name] = nn.Conv2d(3, 3, 1)
        model.adversaries[name].discriminator = Pixelwise()
    optimizers = model.configure_optimizers()
    model.optimizers = lambda use_pl_optimizer: optimizers  # noqa: ARG005
    for player, lr in (("g", 0.02), ("d", 0.005)):
        model._optimizers[player].param_groups[0]["lr"] = lr

    def images(n: int, seed: int) -> Tensor:
        x = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        return x.pow(torch.tensor([0.5, 1.5, 5.0]).view(3, 1, 1)) * 1.6 - 0.8

    def batches():
        for i in range(1000):
            yield Batch(images(8, 2 * i), None, -images(8, 2 * i + 1))

    x = images(50, 9999)
    before = float((model.translate(-x) - x).abs().mean())
    steps(model, 400, batches())
    after = float((model.translate(-x) - x).abs().mean())
    assert after < 0.5 * before
    with torch.no_grad():
        cycle = model.translate_back(model.translate(-x))
    assert float((cycle + x).abs().mean()) < 0.15


def test_a_pool_fills_and_then_hands_on_older_images() -> None:
    torch.manual_seed(0)
    pool = ImagePool(6, (1, 1, 1))

    def numbered(start: int, n: int = 4) -> Tensor:
        return torch.arange(start, start + n).float().view(-1, 1, 1, 1)

    assert pool(numbered(0)).equal(numbered(0))
    assert pool(numbered(4))[:2].equal(numbered(4)[:2])  # two are stored, the rest is exchanged
    assert int(pool.filled) == 6
    old = new = 0
    for i in range(2, 200):
        given = numbered(4 * i)
        before = set(pool.images.flatten().tolist())
        out, after = set(pool(given).flatten().tolist()), set(pool.images.flatten().tolist())
        assert before | set(given.flatten().tolist()) == out | after  # nothing is lost or doubled
        old += len(out & before)
        new += len(out - before)
    assert old / (old + new) == pytest.approx(0.5, abs=0.07)  # four standard deviations


def test_a_pool_goes_on_from_a_checkpoint() -> None:
    pool, other = ImagePool(5, (1, 2, 2)), ImagePool(5, (1, 2, 2))
    first, more = torch.rand(3, 1, 2, 2), torch.rand(8, 1, 2, 2)
    pool(first)
    other(torch.rand(5, 1, 2, 2))
    other.load_state_dict(pool.state_dict())
    torch.manual_seed(1)
    expected = pool(more)
    torch.manual_seed(1)
    assert other(more).equal(expected)
    assert other.images.equal(pool.images)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_small_pools(size: int) -> None:
    pool, x = ImagePool(size, (1, 2, 2)), torch.rand(8, 1, 2, 2)
    for _ in range(3):
        out = pool(x)
        assert out.shape == x.shape
    if not size:
        assert out is x


def test_the_pools_are_in_the_state() -> None:
    model = cyclegan("model.pool=4")
    steps(model, 1)
    kept = state(model)
    assert int(kept["pools.target.filled"]) == 4
    assert kept["pools.source.images"].abs().sum() > 0
    assert_close(kept["pools.target.images"].shape, torch.Size([4, 3, 16, 16]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data/degradation=grey"], "as many channels"),
        (["data/degradation=downsample", "model.identity=0"], "both ways"),
        (["data/degradation=none"], "source"),
        (["data/degradation=mask_box", "model.identity=0"], "with a mask"),
        (["data.resolution=18"], "multiple of 4"),
    ],
)
def test_what_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        cyclegan(*words)


def test_a_schedule_changes_both_adversaries() -> None:
    words = (
        "model/schedule=none",
        "model/penalty=r1",
        "model.schedule.penalty=[10,1]",
        "budget=16",
    )
    model = cyclegan(
        *words, "model/augment=diffaugment", "model.augment.p=0.4", "model.schedule.augment=[0,1]"
    )
    steps(model, 2)
    for adversary in model.adversaries.values():
        assert adversary.penalty.scale == pytest.approx(5.5)
        assert adversary.augment.p == pytest.approx(0.2)


def test_weights_are_clipped_after_each_step_of_d() -> None:
    model = cyclegan("model/loss=wasserstein", "model/penalty=clip", "model.penalty.limit=0.001")
    steps(model, 1)
    for d in model.adversaries.values():
        assert max(float(w.abs().max()) for w in d.discriminator.parameters()) < 0.0011
