"""Keeps the ranks of one model together; see `src/distributed/ranks.py`."""

from typing import Any

import lightning as L

from src.distributed import ranks
from src.models.base import GenerativeModel


class Together(L.Callback):
    """All ranks begin with rank 0's weights, and end in the iteration in which it ends.

    Comes last of rank 0's callbacks and is the only one of the others, which wait here while rank 0
    scores, draws and saves.
    """

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        ranks.equalise(model.state_dict().values())
        trainer.should_stop = ranks.agree(trainer.should_stop)

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.should_stop = ranks.agree(trainer.should_stop)
