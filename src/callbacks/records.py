"""Logs the terms that the model recorded, such as losses, averaged since the last row."""

from collections.abc import Sequence

import lightning as L

from src.callbacks.schedule import Scheduled, regularly
from src.config.ranges import PositiveInt
from src.models.base import GenerativeModel


class Records(Scheduled):
    """Fetches the model's records, with one wait for the device, and hands them to all loggers.

    Args:
        every: samples between two rows; None is a 200th of the budget.
    """

    def __init__(self, every: PositiveInt | None = None) -> None:
        super().__init__()
        self.every = every
        self._before = (0, 0.0)

    def points(self, budget: int) -> Sequence[int]:
        return regularly(budget, self.every, 200, "records")

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        super().on_train_start(trainer, model)
        self._before = (model.samples_seen, model.seconds)

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self.shared.terms = model.terms.fetch()
        samples, seconds = model.samples_seen, model.seconds
        rate = (samples - self._before[0]) / max(seconds - self._before[1], 1e-9)
        self._before = (samples, seconds)
        stage = {"stage": model.stage_number} if model.stage else {}
        metrics = {"seconds": seconds, "samples_per_second": rate} | stage | self.shared.terms
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=samples)
