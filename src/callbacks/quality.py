"""Scores the model on a schedule and at the end, by the weights that are sampled (EMA).

Scorers are owned here and not by the model: a torchmetrics FID inside a LightningModule puts
Inception into every checkpoint.
"""

from collections.abc import Sequence
from typing import Any

import lightning as L

from src.callbacks.schedule import Scheduled, regularly
from src.callbacks.signals import interrupted
from src.metrics.base import Scorer, Scores
from src.models.base import GenerativeModel
from src.runs.stored import NUMBER, expect, is_count


class Quality(Scheduled):
    """Hands `model.sample` to the scorers and logs what they say.

    Args:
        scorers: see `src/metrics/`.
        every: samples between two times; None is a quarter of the budget. The end is always scored.

    Attributes:
        latest: values and protocols of the last time.
        history: `{"samples_seen": ..., name: value ...}` of each time, over all resumes.
    """

    def __init__(self, scorers: Sequence[Scorer] = (), every: int | None = None) -> None:
        super().__init__()
        self.scorers, self.every = scorers, every
        self.latest = Scores({}, {})
        self.history: list[dict[str, float]] = []

    @property
    def headline(self) -> dict[str, float]:
        """The latest headline numbers by their short names, such as `fid`."""
        names = {k: name for scorer in self.scorers for k, name in scorer.headline.items()}
        return {k: self.latest.values[v] for k, v in names.items() if v in self.latest.values}

    def points(self, budget: int) -> Sequence[int]:
        if not self.scorers:
            return []
        points = regularly(budget, self.every, 4, "quality")
        # The end is scored after the last checkpoint: a kill then costs only the scores.
        return [point for point in points if point < budget]

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        with self.beside(model):
            self.latest = Scores({}, {})
            for scorer in self.scorers:
                scores = scorer.score(lambda n, seed: model.sample(n, seed=seed))
                self.latest.values.update(scores.values)
                self.latest.protocols.update(scores.protocols)
        self.history.append({"samples_seen": model.samples_seen} | self.latest.values)
        for logger in trainer.loggers:
            logger.log_metrics(self.latest.values | self.headline, step=model.samples_seen)

    def on_train_end(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        scored = self.history[-1]["samples_seen"] if self.latest.values else None
        if self.scorers and scored != model.samples_seen and not interrupted(trainer):
            self.act(trainer, model)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        shape = {"history": [{"samples_seen": is_count, "*": NUMBER}]}
        expect(state, shape, "callbacks.quality")
        self.history = state["history"]
