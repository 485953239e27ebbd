"""Checkpoints that survive a kill at any moment, and load without running code.

A run keeps `checkpoints/last.ckpt` in Lightning's layout (`state_dict`, `optimizer_states` ...) and
the one before it. A file is written under a temporary name, flushed to the disk and renamed. All
noise in training is a function of (seed, iteration), so that saving at any time, as often as one
likes, does not change the run: the schedule is in seconds of work that a crash may cost.
"""

import math
import time
from pathlib import Path
from typing import Any

import lightning as L

from src.callbacks.base import Callback, Kind
from src.config.ranges import NotNegativeFloat
from src.errors import TrainingError
from src.models.base import GenerativeModel
from src.runs.stored import expect, is_amount
from src.runs.wall import PARTS


class Checkpoint(Callback):
    """Saves `checkpoints/last.ckpt` in a run folder.

    Args:
        seconds: longest time between two checkpoints.
    """

    kind = Kind.SAVE

    def __init__(self, seconds: NotNegativeFloat = 60.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last = time.monotonic()
        self._saved = -1  # iteration of the last save

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._last, self._saved = time.monotonic(), -1
        self.shared.save = lambda: self.save(trainer)

    def due(self, model: GenerativeModel) -> float:
        return math.inf if self.seconds else 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Budget, signals and users' callbacks have had their turn: the end is decided by now.
        if trainer.should_stop or time.monotonic() - self._last >= self.seconds:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save now, unless that was done in this iteration."""
        if trainer.lightning_module.iteration == self._saved:
            return
        folder = Path(trainer.default_root_dir)
        if not (folder / "config.yaml").exists():
            # A new one would hold no configuration, and be refused later.
            raise TrainingError(f"The run folder {folder} was removed while the run was training.")
        path = folder / "checkpoints" / "last.ckpt"
        with self.off_the_clock(trainer.lightning_module, "saving"):
            trainer.save_checkpoint(path, weights_only=False)  # optimisers and clock too
        self._last, self._saved = time.monotonic(), trainer.lightning_module.iteration

    def state_dict(self) -> dict[str, Any]:
        return {"wall": self.shared.wall.sums()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        expect(state, {"wall": dict.fromkeys(PARTS, is_amount)}, "callbacks.checkpoint")
        self.shared.wall.past = state["wall"]
