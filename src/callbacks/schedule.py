"""Actions at fixed points of the clock, each exactly once, however often a run is resumed.

The clock is `samples_seen`. A schedule is a sorted sequence of its values, a function of the
settings alone; a point is due in the first iteration that reaches it. Nothing is remembered between
processes: a resumed run finds from its clock which points have passed. A checkpoint is saved after
these actions, so that what was due in an iteration is done when it is saved.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import lightning as L

from src.callbacks.base import Callback
from src.errors import SettingError
from src.models.base import GenerativeModel


def at_fractions(budget: int, fractions: Iterable[Fraction]) -> list[int]:
    """Points at fractions of the budget, rounded up so that 1 is the budget itself."""
    return sorted({max(1, math.ceil(budget * fraction)) for fraction in fractions})


def at_multiples(budget: int, every: int, setting: str) -> range:
    """Points at all multiples of `every` up to the budget.

    Raises:
        SettingError: naming `setting` if `every` is not positive.
    """
    if every <= 0:
        raise SettingError(f"{setting}={every} must be positive: samples between two times.")
    return range(every, budget + 1, every)


def regularly(budget: int, every: int | None, parts: int, callback: str) -> Sequence[int]:
    """Points at all multiples of `every`; if it is None, at the ends of equal parts of the budget.

    Raises:
        SettingError: naming the callback's setting if `every` is not positive.
    """
    if every is not None:
        return at_multiples(budget, every, f"callbacks.{callback}.every")
    return at_fractions(budget, [Fraction(k, parts) for k in range(1, parts + 1)])


class Scheduled(Callback):
    """Base of the callbacks that `act` on a schedule."""

    def __init__(self) -> None:
        super().__init__()
        self._points: Sequence[int] = ()
        self._next = 0

    def points(self, budget: int) -> Sequence[int]:
        """The schedule, in increasing order."""
        raise NotImplementedError  # abstract

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        """Do what is due."""
        raise NotImplementedError  # abstract

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._points = self.points(model.budget)
        self._next = bisect_right(self._points, model.samples_seen)

    def due(self, model: GenerativeModel) -> float:
        return self._points[self._next] if self._next < len(self._points) else math.inf

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if model.samples_seen >= self.due(model):
            self._next = bisect_right(self._points, model.samples_seen)
            self.act(trainer, model)
