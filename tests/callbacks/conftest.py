"""`fit`: the tiny model in the real trainer, with all that the callbacks expect around them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.callbacks import ProgressBar

from src.callbacks.base import Shared, arrange
from src.callbacks.budget import Budget
from src.callbacks.checkpoint import Checkpoint
from src.callbacks.signals import Signals
from src.data.spec import DataSpec
from src.metrics.base import Scorer
from src.training.checkpoints import AtomicCheckpointIO
from tests.callbacks.tiny import BATCH, POINTS, StopAt, Tiny, TinyData


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., tuple[L.Trainer, Tiny]]:
    """fit(*callbacks, budget=..., resume=..., stop_at=...) trains in a run folder."""

    def run(
        *callbacks: L.Callback,
        budget: int = 100,
        max_time: str | None = None,
        resume: bool = False,
        stop_at: int | None = None,
        folder: Path = tmp_path,
        spec: DataSpec = POINTS,
        model: Tiny | None = None,
        loggers: tuple = (),
        scorers: Sequence[Scorer] = (),
    ) -> tuple[L.Trainer, Tiny]:
        model = model or Tiny(spec)
        model.budget = budget
        path = folder / "checkpoints" / "last.ckpt"
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").touch()  # as in a run folder
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=-1,
            logger=list(loggers),
            callbacks=arrange(
                [
                    Checkpoint(seconds=1e9),
                    Signals(),
                    *callbacks,
                    *([StopAt(stop_at)] if stop_at else []),
                    Budget(max_time),
                ],
                Shared(scorers),
            ),
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        data = TinyData(model.spec, batch_size=BATCH, seed=0)
        try:
            trainer.fit(model, data, ckpt_path=str(path) if resume else None, weights_only=True)
        except InterruptedError:
            assert stop_at
        return trainer, model

    return run
