"""Stops a run that has become useless, with the guilty term named, before it overwrites the last
good checkpoint.

The terms that the model records (losses, penalties, gradient norms) are looked at when they are
fetched, so that no iteration waits for the device. By then a NaN has spread to all of them; so the
sums of the terms after each iteration are kept, on the device, and show the first to go. A
checkpoint is looked at as a whole before it is written.
"""

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from src.callbacks.base import Callback
from src.config.ranges import NotNegativeInt
from src.errors import SettingError, TrainingError
from src.models.base import GenerativeModel


class Health(Callback):
    """Raises `TrainingError` at the first term or weight that is not finite.

    Args:
        gradients: iterations between two records of the norm of each player's gradient,
            `gradient/<player>`; 0 records none. In small networks a norm costs 2 % of an iteration.
    """

    def __init__(self, gradients: NotNegativeInt = 10) -> None:
        super().__init__()
        if gradients < 0:
            raise SettingError(
                f"callbacks.health.gradients={gradients} must not be negative: iterations."
            )
        self.gradients = gradients
        self._checked: dict[str, float] = {}
        self._sums: list[tuple[list[str], Tensor]] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, model: GenerativeModel, batch: Any, batch_idx: int
    ) -> None:
        model.watch_gradients = self.gradients > 0 and model.iteration % self.gradients == 0

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        latest = self.shared.terms
        if not latest or latest is self._checked:  # not fetched in this iteration
            self._sums.append(model.terms.sums())
            return
        if not all(map(math.isfinite, latest.values())):
            raise _not_finite(_guilty(latest, self._sums), model)
        self._checked, self._sums = latest, []

    def on_save_checkpoint(
        self, trainer: L.Trainer, model: GenerativeModel, checkpoint: dict[str, Any]
    ) -> None:
        weights = {k: v for k, v in checkpoint["state_dict"].items() if v.is_floating_point()}
        finite = torch.stack([weight.isfinite().all() for weight in weights.values()])
        for name, good in zip(weights, finite.tolist(), strict=True):
            if not good:
                raise _not_finite(f"the weight {name} is not finite", model)


def _guilty(latest: dict[str, float], sums: list[tuple[list[str], Tensor]]) -> str:
    """The first term that went: iteration by iteration, and in one in the order of recording."""
    for names, values in sums:
        for name, value in zip(names, values.tolist(), strict=True):
            if not math.isfinite(value):
                return f"{name} is {value}"
    # It was the iteration in which they were fetched.
    return next(f"{name} is {value}" for name, value in latest.items() if not math.isfinite(value))


def _not_finite(what: str, model: GenerativeModel) -> TrainingError:
    return TrainingError(
        f"Training diverged: {what} at {model.samples_seen:,} samples; it was stopped.\n"
        "Try a lower learning rate, trainer.precision=32-true or, for a GAN, model/penalty=r1.\n"
        "No checkpoint was written since; the last one, if any, is good."
    )
