"""Stops a run that has become useless, with the guilty term named, before it overwrites the last
good checkpoint.

The terms that the model records are looked at when they are fetched, so that no iteration waits for
the device. A checkpoint is looked at as a whole before it is written.
"""

import math
from typing import Any

import lightning as L
import torch

from src.callbacks.records import Records
from src.errors import TrainingError
from src.models.base import GenerativeModel


class Health(L.Callback):
    """Raises `TrainingError` at the first term or weight that is not finite."""

    def __init__(self) -> None:
        self._checked: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, Records) and callback.latest is not self._checked:
                self._checked = callback.latest
                for name, value in callback.latest.items():
                    if not math.isfinite(value):
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
