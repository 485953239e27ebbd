"""Alarm at mode collapse: samples that show a small part of the data only.

    diversity = training samples that are the nearest to one of n generated samples
                / training samples that are the nearest to one of n other training samples

of the same n training samples each time, by the distance in pixels or coordinates. 1 is as it
should be, 1/2 is half of the modes, and nearly 0 is one sample for all codes. Blur hardly moves it:
a blurred digit is still nearest to digits of its shape. The mean distance between samples does not
see lost modes: four of eight can be as far apart as all of them. What a model leaves out in detail
is seen by recall and coverage (docs/metrics.md).
"""

import sys
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from tqdm import tqdm

from src.callbacks.overfitting import imitate, some_reals
from src.callbacks.schedule import Scheduled, regularly
from src.config.ranges import NotNegativeFloat, PositiveInt
from src.data.spec import Batch
from src.errors import SettingError, TrainingError
from src.models.base import GenerativeModel, LatentVariableModel
from src.runs.stored import expect, is_count

START = 100  # iterations after which there is something to be judged


class Collapse(Scheduled):
    """Logs `diversity`, and warns once if it stays low after the first quarter of the budget.

    The defaults were chosen by measuring (`benchmarks/collapse.py`, docs/results/health.md).

    Args:
        n: samples, and training samples, that are compared.
        every: samples seen between two checks; None is an eighth of the budget.
        threshold: a diversity below it is low.
        patience: low checks in a row before the alarm.
        stop: stop the training at the alarm, by a `TrainingError`.
    """

    def __init__(
        self,
        n: PositiveInt = 400,
        every: PositiveInt | None = None,
        threshold: NotNegativeFloat = 0.25,
        patience: PositiveInt = 3,
        stop: bool = False,
    ) -> None:
        super().__init__()
        if n < 2:
            raise SettingError(f"callbacks.collapse.n={n} must be at least 2 samples, to compare.")
        if patience < 1:
            raise SettingError(f"callbacks.collapse.patience={patience} must be positive: checks.")
        self.n, self.every, self.threshold = n, every, threshold
        self.patience, self.stop = patience, stop
        self._low = 0
        self._warned = False

    def points(self, budget: int) -> Sequence[int]:
        return regularly(budget, self.every, 8, "collapse")

    def act(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        if not isinstance(model, LatentVariableModel):
            return
        with self.off_the_clock(model, "scoring"):
            real = some_reals(trainer, "train", 2 * self.n)
            n = len(real.x) // 2
            if n < 2:
                return
            asked = Batch(real.x[:n], None if real.y is None else real.y[:n])  # their labels
            targets, others = real.x[:n].to(model.device), real.x[n : 2 * n].to(model.device)
            value = distinct(imitate(model, asked).x, targets) / distinct(others, targets)
        for logger in trainer.loggers:
            logger.log_metrics({"diversity": value}, step=model.samples_seen)
        # Before the last of several stages, samples come from layers that are not trained yet; and
        # with the first quarter of their budget, healthy models can still be on their way.
        whole = model.stage is None or model.stage is model.stages[-1]
        begun = model.samples_seen > model.budget / 4 and model.iteration > START
        self._low = self._low + 1 if whole and begun and value < self.threshold else 0
        if self._low >= self.patience and (self.stop or not self._warned):
            self._warned = True
            self._alarm(value, model)

    def _alarm(self, value: float, model: GenerativeModel) -> None:
        message = (
            f"Mode collapse: samples show {value:.0%} of the variety of real data, below "
            f"{self.threshold:.0%} in {self._low} checks in a row, at {model.samples_seen:,} "
            "samples."
            "\nLook at the pictures in samples/. "
            "Try a lower learning rate, or for a GAN model/penalty=r1."
        )
        if self.stop:
            raise TrainingError(message)
        tqdm.write(f"\n{message}\nThe training goes on.\n", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        return {"low": self._low, "warned": self._warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        expect(state, {"low": is_count, "warned": bool}, "callbacks.collapse")
        self._low, self._warned = state["low"], state["warned"]


def distinct(x: Tensor, targets: Tensor) -> int:
    """How many of the targets (m, ...) are the nearest to at least one x (n, ...)."""
    distances = torch.cdist(x.flatten(1).float(), targets.flatten(1).float())
    return len(distances.argmin(1).unique())
