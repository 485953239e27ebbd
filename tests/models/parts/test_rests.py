"""When a player rests: the rules at their borders, and what a GAN does of them."""

import math
from collections.abc import Collection

import pytest
import torch

from src.errors import SettingError
from src.losses.adversarial import LeastSquares, NonSaturating
from src.models.gan import GAN
from src.models.parts.rests import AccuracyRests, CostRests, NoRests
from tests.models.conftest import TINY, built, noise, state, steps


def outputs(right_real: int, right_fake: int, n: int, half: float = 0.5) -> dict:
    """Of a D that is right about so many of n reals and n fakes."""
    real = torch.full((n,), half - 0.1)
    real[:right_real] = half + 0.1
    fake = torch.full((n,), half + 0.1)
    fake[:right_fake] = half - 0.1
    return {"d_real": real, "d_fake": fake}


@pytest.mark.parametrize(
    ("right", "resting"),
    [((50, 30), ()), ((40, 40), ()), ((41, 40), ("d",)), ((50, 50), ("d",)), ((0, 0), ())],
)
def test_d_rests_above_an_accuracy(right: tuple[int, int], resting: Collection[str]) -> None:
    """At 80 of 100 it takes its step, at 81 it does not; 0.8 is no binary fraction."""
    assert AccuracyRests(0.8)(outputs(*right, n=50), NonSaturating()) == resting


@pytest.mark.parametrize("loss", [NonSaturating(real_label=0.9), LeastSquares(1.0, -1.0)])
def test_being_right_is_by_the_losss_own_half(loss: NonSaturating | LeastSquares) -> None:
    shown = outputs(9, 8, n=10, half=loss.undecided)
    assert AccuracyRests(0.8)(shown, loss) == ("d",)
    assert AccuracyRests(0.85)(shown, loss) == ()
    assert AccuracyRests(0.84)(shown, loss) == ("d",)


@pytest.mark.parametrize(
    ("real", "fake", "resting"),
    [
        (0.6, 0.7, ()),
        (0.34, 1.02, ()),
        (0.32, 0.7, ("d",)),
        (0.7, 0.32, ("d",)),
        (1.04, 0.7, ("g",)),
        (0.7, 1.04, ("g",)),
        (0.32, 1.04, ()),  # both would, so neither does
        (1.04, 0.32, ()),
    ],
)
def test_the_equilibrium(real: float, fake: float, resting: Collection[str]) -> None:
    """Larsen et al.'s numbers: between 0.33 and 1.03 both take their steps."""
    shown = {"loss/d_real": torch.tensor(real), "loss/d_fake": torch.tensor(fake)}
    assert CostRests()(shown, NonSaturating()) == resting


@pytest.mark.parametrize("rule", ["accuracy", "costs"])
@pytest.mark.parametrize("loss", ["hinge", "wasserstein", "relativistic", "relativistic_average"])
def test_a_loss_without_a_half_is_refused(rule: str, loss: str) -> None:
    with pytest.raises(SettingError, match=r"model/rests: with model\.loss=\w+ D has no output"):
        built(*TINY, f"model/rests={rule}", f"model/loss={loss}")


class Given(NoRests):
    """Rests by a list of what happens in which step of D."""

    players = ("d", "g")

    def __init__(self, *resting: str) -> None:
        self.resting = iter(resting)

    def __call__(self, *_: object) -> Collection[str]:
        return next(self.resting)


def changed(model: GAN) -> str:
    """Players whose weights an iteration changes."""
    before = state(model)
    steps(model, 1, noise(model, seed=model.iteration))
    after = state(model)
    names = {"d": "adversary.discriminator.head.weight", "g": "generator.body.1.weight"}
    return "".join(p for p, name in names.items() if not after[name].equal(before[name]))


def test_a_resting_player_keeps_its_weights() -> None:
    model = built(*TINY)
    model.rests = Given("", "d", "g", "d")
    assert [changed(model) for _ in range(4)] == ["dg", "g", "d", "g"]
    assert (model.rested, model.updates) == ({"d": 2, "g": 1}, {"d": 2, "g": 3})
    # The clock counts what D was shown, and every iteration says who rested.
    assert (model.samples_seen, model.iteration) == (32, 4)
    records = model.terms.fetch()
    assert (records["rests/d"], records["rests/g"]) == (0.5, 0.25)
    assert math.isfinite(records["loss/d"])


def test_each_step_of_d_asks_and_the_last_one_says_whether_g_rests() -> None:
    model = built(*TINY, "model.d_steps=3")
    model.rests = Given("d", "g", "d", "", "d", "g")
    steps(model, 2)
    assert (model.rested, model.updates) == ({"d": 3, "g": 1}, {"d": 3, "g": 1})


def test_weights_are_clipped_after_a_step_only() -> None:
    model = built(*TINY, "model/penalty=clip", "model.penalty.limit=0.001")
    model.rests = Given("d", "")
    head = model.adversary.discriminator.head.weight.detach()
    steps(model)
    assert float(head.abs().max()) > 0.001
    steps(model)
    assert float(head.abs().max()) <= 0.0011


def test_a_d_that_is_too_good_waits_for_g() -> None:
    """The rule in a real game: D rests in some iterations and learns in others, by its accuracy."""
    model = built(*TINY, "model/rests=accuracy", "model.rests.above=0.6")
    batches = noise(model)
    for _ in range(30):
        steps(model, 1, batches)
    assert model.rested["d"] + model.updates["d"] == 30
    assert 0 < model.rested["d"] < 30
    assert model.updates["g"] == 30
    assert "g" not in model.rested
    saved: dict = {}
    model.on_save_checkpoint(saved)
    other = built(*TINY)
    other.on_load_checkpoint(saved)
    assert other.rested == model.rested


def test_without_a_rule_nothing_is_counted() -> None:
    model = built(*TINY)
    steps(model, 2)
    assert model.rested == {}
    assert not [name for name in model.terms.fetch() if name.startswith("rests")]
