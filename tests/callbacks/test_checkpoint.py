import shutil
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest

from src.callbacks.progress import Progress
from src.errors import TrainingError
from tests.callbacks.tiny import Tiny


class RemoveFolder(L.Callback):
    """Removes the run folder after the second iteration."""

    def on_train_batch_end(self, trainer: L.Trainer, model: Tiny, *_: object) -> None:
        if model.samples_seen == 14:
            shutil.rmtree(trainer.default_root_dir)


def test_a_run_folder_that_is_removed(fit: Callable, tmp_path: Path) -> None:
    """It is said, and no half of a folder is left, which the next call would refuse."""
    with pytest.raises(TrainingError, match="was removed while the run was training"):
        fit(RemoveFolder(), Progress(heartbeat=0), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
