"""Ends the training at a number of samples, or after a time of training.

The training clock, `model.seconds`, counts over all resumes and leaves out what happens beside the
training: scoring and pictures. So `max_time` buys the same training whatever is measured.
"""

import time
from typing import Any

import lightning as L

from src.callbacks.schedule import Scheduled
from src.config.durations import parse_duration
from src.models.base import GenerativeModel


class Budget(L.Callback):
    """Stops at the first of two limits. Comes first of all callbacks, so that these see its clock.

    Args:
        samples: real samples to train on.
        max_time: of training, such as `10m` or `1h30m`; None is without limit.
    """

    def __init__(self, samples: int, max_time: str | None = None) -> None:
        self.samples = samples
        self.max_seconds = float("inf") if max_time is None else parse_duration(max_time)
        self._others: list[Scheduled] = []
        self._start = 0.0

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._others = [c for c in trainer.callbacks if isinstance(c, Scheduled)]
        self._start = self._training_time() - model.seconds
        self._stop_if_spent(trainer, model)

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        model.seconds = self._training_time() - self._start
        self._stop_if_spent(trainer, model)

    def _training_time(self) -> float:
        return time.perf_counter() - sum(other.seconds for other in self._others)

    def _stop_if_spent(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if model.samples_seen >= self.samples or model.seconds >= self.max_seconds:
            trainer.should_stop = True
