"""Ends the training when its budget of samples, or its time, is spent.

The training clock, `model.seconds`, counts over all resumes and leaves out what happens outside the
training steps: scoring, pictures, saving. So `max_time` buys the same training whatever is
measured.
"""

import time
from typing import Any

import lightning as L

from src.callbacks.base import Callback, Kind
from src.config.durations import parse_duration
from src.config.ranges import PositiveInt
from src.models.base import GenerativeModel


class Budget(Callback):
    """Stops the training at `model.budget` samples, or at a time if that comes first.

    Args:
        max_time: training time, such as `10m` or `1h30m`; None sets no limit.
        iterations: stop after so many iterations, whatever the budget is; for debugging.
    """

    kind = Kind.CLOCK

    def __init__(self, max_time: str | None = None, iterations: PositiveInt | None = None) -> None:
        super().__init__()
        self.iterations = iterations
        self.max_seconds = float("inf") if max_time is None else parse_duration(max_time)
        self._start = 0.0

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self.shared.wall.lap("start")
        self._start = self._training_time() - model.seconds
        self._stop_if_spent(trainer, model)

    def due(self, model: GenerativeModel) -> float:
        return model.budget if self.iterations is None else 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        model.seconds = self._training_time() - self._start
        self._stop_if_spent(trainer, model)

    def _training_time(self) -> float:
        return time.perf_counter() - self.shared.wall.parts.total()

    def _stop_if_spent(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        spent = model.samples_seen >= model.budget
        if self.iterations is not None:
            spent = model.iteration >= self.iterations
        if spent or model.seconds >= self.max_seconds:
            trainer.should_stop = True
