"""Schedules on the samples seen."""

import pytest

from src.errors import SettingError
from src.models.parts.schedules import Schedule
from tests.models.conftest import TINY, built, steps


def test_line_and_cosine() -> None:
    line = Schedule("linear", until=0.5, lr=(1, 0.2))
    shares = (0, 0.25, 0.5, 0.75, 1)
    assert [line.factors(share)["lr"] for share in shares] == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])
    cosine = Schedule("cosine", lr=(1, 0))
    assert [cosine.factors(share)["lr"] for share in shares] == pytest.approx(
        [1, 0.853553, 0.5, 0.146447, 0], abs=1e-6
    )
    late = Schedule("linear", 0.5, lr=(1, 0))
    assert [late.factors(share)["lr"] for share in shares] == pytest.approx([1, 1, 1, 0.5, 0])


def test_all_strengths_follow_the_clock() -> None:
    """8 samples an iteration, of a budget of 32: the third iteration begins at one half."""
    words = ["model/penalty=r1", "model/augment=diffaugment", "model.augment.p=0.4"]
    factors = {"lr": [1, 0], "beta2": [10, 1], "penalty": [10, 1], "half_life": [0, 1]}
    words += [f"model.schedule.{name}={pair}".replace(" ", "") for name, pair in factors.items()]
    model = built(*TINY, *words, "model.schedule.augment=[0,1]", "budget=32")
    steps(model, 3)
    for optimizer in model._optimizers.values():
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001 / 2)
        assert optimizer.param_groups[0]["betas"] == (0.5, pytest.approx(1 - 5.5 * 0.01))
    assert model.adversary.penalty.scale == pytest.approx(5.5)
    assert model.ema.half_life == pytest.approx(32)
    assert model.adversary.augment.p == pytest.approx(0.2)
    steps(model, 5)
    assert model._optimizers["g"].param_groups[0]["lr"] == 0
    assert model.ema.half_life == 64


def test_without_a_schedule_nothing_moves() -> None:
    model = built(*TINY, "budget=32")
    steps(model, 3)
    assert model._optimizers["d"].param_groups[0]["lr"] == 0.001


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.schedule.lr=[1]"], "two factors"),
        (["model.schedule.until=0"], "until=0"),
        (["model.schedule.augment=[0,1]"], "augment"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        steps(built(*TINY, *words, "budget=32"))
