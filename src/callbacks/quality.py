"""Scores the model on a schedule and at the end, by the weights that are sampled (EMA).

Scorers belong to the callbacks and not to the model: a torchmetrics FID inside a LightningModule
puts Inception into every checkpoint.
"""

from collections.abc import Sequence
from typing import Any

import lightning as L

from src.callbacks.base import Kind
from src.callbacks.schedule import Scheduled, regularly
from src.config.ranges import PositiveInt
from src.metrics.base import StoppedError, score_all
from src.models.base import GenerativeModel
from src.runs.stored import NUMBER, expect, is_count


class Quality(Scheduled):
    """Scores the model by the scorers of the run and logs their numbers.

    Args:
        every: samples between two scorings; None is a quarter of the budget. The end is always
            scored.
        complete: compute all numbers each time, and not only the headline numbers before the end.
    """

    kind = Kind.SCORE

    def __init__(self, every: PositiveInt | None = None, complete: bool = False) -> None:
        super().__init__()
        self.every, self.complete = every, complete

    def points(self, budget: int) -> Sequence[int]:
        scorers = self.shared.scorers
        if not (scorers if self.complete else self.shared.short_names):
            return []
        points = regularly(budget, self.every, 4, "quality")
        # The end is scored after the last checkpoint: a kill then costs only the scores.
        return [point for point in points if point < budget]

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        super().on_train_start(trainer, model)
        passed = [point for point in self._points if point <= model.samples_seen]
        scored = self.shared.history[-1]["samples_seen"] if self.shared.history else 0
        if passed and scored < passed[-1]:  # the run was killed between the save and the scores
            self.act(trainer, model)

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._score(trainer, model, brief=not self.complete)

    def _score(self, trainer: L.Trainer, model: GenerativeModel, brief: bool) -> None:
        if not trainer.should_stop:  # the end is saved already
            self.shared.save()
        with self.off_the_clock(model, "scoring"):
            try:
                latest = score_all(self.shared.scorers, model, self._interrupted, brief)
            except StoppedError:  # the run that goes on scores here first
                trainer.should_stop = True
                return
        self.shared.scores = latest
        entry = {"samples_seen": model.samples_seen} | latest.values
        # The last weights may have been scored in brief just before.
        kept = [e for e in self.shared.history if e["samples_seen"] != model.samples_seen]
        self.shared.history[:] = [*kept, entry]
        for logger in trainer.loggers:
            logger.log_metrics(latest.values | self.shared.headline, step=model.samples_seen)

    def _interrupted(self) -> bool:
        return self.shared.interrupted_by is not None

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        shared = self.shared
        scored = shared.history[-1]["samples_seen"] if shared.scores.values else None
        known = self.complete and scored == model.samples_seen
        if shared.scorers and not known and not shared.interrupted_by:
            self._score(trainer, model, brief=False)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.shared.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        shape = {"history": [{"samples_seen": is_count, "*": NUMBER}]}
        expect(state, shape, "callbacks.quality")
        self.shared.history = state["history"]
