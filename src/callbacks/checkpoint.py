"""Checkpoints that survive a kill at any moment, and load without running code.

A run keeps `checkpoints/last.ckpt` in Lightning's layout (`state_dict`, `optimizer_states` ...) and
the one before it. A file is written under a temporary name, flushed to the disk and renamed. All
noise in training is a function of (seed, iteration), so that saving at any time, as often as one
likes, does not change the run: the schedule is in seconds of work that a crash may cost.
"""

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from src.errors import SettingError
from src.models.base import GenerativeModel
from src.runs import unwritable
from src.tensor_files import RefusedError, read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes atomically, keeps the previous file, and loads tensors and plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        temporary, previous = path.with_name(f".{path.name}"), path.with_name("previous.ckpt")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                # A second name for the old file, so that at no moment there is none.
                link = path.with_name(".previous")
                link.unlink(missing_ok=True)
                os.link(path, link)
                os.replace(link, previous)
                link.unlink(missing_ok=True)  # it stays if both names had been of one file
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:
            cause = error
            if isinstance(error, RuntimeError):  # so torch tells of a full disk
                full = shutil.disk_usage(path.parent).free < 2**16
                reason = os.strerror(errno.ENOSPC) if full else str(error).partition("\n")[0]
                cause = OSError(errno.ENOSPC if full else errno.EIO, reason)
            temporary.unlink(missing_ok=True)
            raise unwritable(path, cause) from error

    def load_checkpoint(
        self, path: str, map_location: Any | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, whence modules and optimisers copy what is theirs.

    Its checksums are verified, and whoever wrote it, no code in it is ever run.

    Raises:
        SettingError: if the file is damaged or holds anything but tensors and plain values.
    """
    cure = (
        f"Delete it to go on from {path.with_name('previous.ckpt')}, or use existing=restart."
        if path.name == "last.ckpt" and path.with_name("previous.ckpt").exists()
        else "Use existing=restart to train anew."
    )
    try:
        return read_checkpoint(path)
    except RefusedError as error:
        raise SettingError(
            f"The checkpoint {path} is refused: it holds more than tensors and plain values\n"
            f"({error}), and loading it could run code. {cure}"
        ) from error
    except ValueError as error:
        raise SettingError(f"The checkpoint {path} is damaged: {error}.\n{cure}") from error


class Checkpoint(L.Callback):
    """Saves `checkpoints/last.ckpt`.

    Args:
        seconds: of work at most between two checkpoints.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, model: GenerativeModel) -> None:
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, model: GenerativeModel, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The callback comes last: whether the training ends here is decided, by budget or signal.
        if trainer.should_stop or time.monotonic() - self._last >= self.seconds:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Save now."""
        path = Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt"
        trainer.save_checkpoint(path, weights_only=False)  # optimisers and clock too
        self._last = time.monotonic()
