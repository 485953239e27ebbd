"""Keeps the ranks of one model together; see `src/distributed/ranks.py`."""

from typing import Any

import lightning as L

from src.callbacks.base import Callback, Kind
from src.distributed import ranks
from src.models.base import GenerativeModel


class Together(Callback):
    """Starts all ranks with rank 0's weights and ends them in the same iteration.

    Ranks above 0 have no other callback: they wait here while rank 0 scores, draws and saves.
    """

    kind = Kind.AGREE

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        ranks.equalise(model.state_dict().values())
        trainer.should_stop = ranks.agree(trainer.should_stop)

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.should_stop = ranks.agree(trainer.should_stop)
