"""Stops a run that has become useless, with the guilty term named, before it overwrites the last
good checkpoint.

The terms that the model records (losses, penalties, gradient norms) are looked at when they are
fetched, so that no iteration waits for the device. A checkpoint is looked at as a whole before it
is written.
"""

import math
from typing import Any

import lightning as L
import torch

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

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        model.watch_gradients = self.gradients

    def due(self, model: GenerativeModel) -> float:
        return math.inf  # terms are fetched in another's turn, which comes before

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        broken = [term for term in self.shared.terms.items() if not math.isfinite(term[1])]
        if broken:  # a NaN spreads to other terms, but which went first is noted down
            name, value = model.terms.broken or broken[0]
            raise _not_finite(f"{name} is {value}", model)

    def on_save_checkpoint(
        self, trainer: L.Trainer, model: GenerativeModel, checkpoint: dict[str, Any]
    ) -> None:
        weights = {k: v for k, v in checkpoint["state_dict"].items() if v.is_floating_point()}
        finite = torch.stack([weight.isfinite().all() for weight in weights.values()])
        for name, good in zip(weights, finite.tolist(), strict=True):
            if not good:
                raise _not_finite(f"the weight {name} is not finite", model)


def _not_finite(what: str, model: GenerativeModel) -> TrainingError:
    return TrainingError(
        f"Training diverged: {what} at {model.samples_seen:,} samples; it was stopped.\n"
        "Try a lower learning rate, trainer.precision=32-true or, for a GAN, model/penalty=r1.\n"
        "No checkpoint was written since; the last one, if any, is good."
    )
