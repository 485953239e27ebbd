from collections.abc import Callable, Sequence
from fractions import Fraction

import lightning as L
import pytest
import torch

from src.callbacks.schedule import Scheduled, at_fractions, at_multiples
from src.errors import SettingError
from src.models.base import GenerativeModel


class Diary(Scheduled):
    """Notes the clock whenever it acts."""

    def __init__(self, points: Sequence[int]) -> None:
        super().__init__()
        self.wanted, self.acts = points, []

    def points(self, budget: int) -> Sequence[int]:
        return self.wanted

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self.acts.append(model.samples_seen)


def test_points() -> None:
    assert at_fractions(1003, [Fraction(k, 4) for k in (1, 2, 3, 4)]) == [251, 502, 753, 1003]
    assert at_fractions(3, [Fraction(k, 200) for k in range(1, 201)]) == [1, 2, 3]
    assert list(at_multiples(100, 30, "x")) == [30, 60, 90]
    with pytest.raises(SettingError, match=r"callbacks.samples.every=0"):
        at_multiples(100, 0, "callbacks.samples.every")


@pytest.mark.parametrize("points", [range(10, 101, 10), [1, 2, 50, 100], range(7, 101, 7), [98]])
def test_acts_once_per_point_reached(fit: Callable, points: Sequence[int]) -> None:
    whole = Diary(points)
    fit(whole)
    clocks = range(7, 106, 7)
    expected = sorted({next(c for c in clocks if c >= point) for point in points})
    assert whole.acts == expected


@pytest.mark.parametrize("stop_at", [7, 28, 30, 50, 84, 98])
def test_a_resume_neither_repeats_nor_forgets(fit: Callable, stop_at: int) -> None:
    points = range(10, 101, 10)
    whole, first, second = Diary(points), Diary(points), Diary(points)
    fit(whole)
    fit(first, stop_at=stop_at)
    fit(second, resume=True)
    assert first.acts + second.acts == whole.acts


def test_a_resumed_run_is_the_same(fit: Callable) -> None:
    whole = fit(Diary([]))[1]
    fit(Diary([]), stop_at=40)
    resumed = fit(Diary([]), resume=True)[1]
    assert torch.equal(resumed.mean, whole.mean)
    assert resumed.samples_seen == whole.samples_seen == 105
