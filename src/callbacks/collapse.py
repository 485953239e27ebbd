"""Alarm at mode collapse: samples that differ from each other much less than real data do.

    diversity = mean |x_i - x_j| over pairs of samples / the same over pairs of training data

in pixels or coordinates. 1 is as it should be, 0 is one sample for all codes. It is a coarse
measure, for it costs next to nothing: what a model leaves out in detail is seen by recall and
coverage (docs/metrics.md).
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
from src.errors import SettingError, TrainingError
from src.models.base import GenerativeModel
from src.runs.stored import expect, is_count


class Collapse(Scheduled):
    """Logs `diversity`, and warns once if it stays low.

    Args:
        n: samples that are compared with each other.
        every: samples seen between two checks; None is an eighth of the budget.
        threshold: a diversity below it is low.
        patience: low checks in a row before the alarm.
        stop: stop the training at the alarm, by a `TrainingError`.
    """

    def __init__(
        self,
        n: PositiveInt = 64,
        every: PositiveInt | None = None,
        threshold: NotNegativeFloat = 0.5,
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
        with self.off_the_clock(model):
            real = some_reals(trainer, "train", self.n)
            fake = imitate(model, real)
            distance = mean_distance(real.x.to(model.device), fake.y)  # labels if it has any
            value = float(mean_distance(fake.x, fake.y) / distance)
        for logger in trainer.loggers:
            logger.log_metrics({"diversity": value}, step=model.samples_seen)
        # Before the last of several stages, samples come from layers that are not trained yet.
        whole = model.stage is None or model.stage is model.stages[-1]
        self._low = self._low + 1 if whole and value < self.threshold else 0
        if self._low >= self.patience and (self.stop or not self._warned):
            self._warned = True
            self._alarm(value, model)

    def _alarm(self, value: float, model: GenerativeModel) -> None:
        message = (
            f"Mode collapse: samples differ {value:.2g} times as much as real data do, below "
            f"{self.threshold:g} in {self._low} checks in a row, at {model.samples_seen:,} samples."
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


def mean_distance(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Mean Euclidean distance between two of n samples (n, ...), of the same class if y is given.

    Within the classes, since a conditional model that knows one sample of each would differ enough
    from class to class.
    """
    distances = torch.pdist(x.flatten(1).float())
    if y is None:
        return distances.mean()
    first, second = torch.triu_indices(len(x), len(x), 1)
    return distances[(y[first] == y[second]).to(x.device)].mean()
