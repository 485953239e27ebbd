"""Checkpoints that survive a kill at any moment, load without running code, and fit their model.

A run keeps `checkpoints/last.ckpt` in Lightning's layout (`state_dict`, `optimizer_states` ...) and
the one before it.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from src.errors import SettingError
from src.models.base import GenerativeModel
from src.runs.escape import line
from src.runs.files import replacing, unwritable
from src.runs.stored import expect, is_amount, is_count
from src.runs.tensor_files import RefusedError, read_checkpoint

# What is used of a checkpoint beside its tensors; shapes as `src.runs.stored.expect` takes them.
SAVED = {
    "state_dict": dict,
    "sparring": {
        "spec": {
            "kind": str,
            "shape": tuple,
            "classes": tuple,
            "picture_shape?": tuple,
        },
        "samples_seen": is_count,
        "iteration": is_count,
        "updates": {"*": is_count},
        "seconds": is_amount,
        "records": {"*": tuple},
    },
}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes atomically, keeps the previous file, and loads tensors and plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        previous = path.with_name("previous.ckpt")
        try:
            with replacing(path) as file:
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
        except RuntimeError as error:  # so torch tells of a full disk
            full = shutil.disk_usage(path.parent).free < 2**16
            reason = os.strerror(errno.ENOSPC) if full else str(error).partition("\n")[0]
            cause = OSError(errno.ENOSPC if full else errno.EIO, reason)
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


def restore_for_training(model: GenerativeModel, path: Path) -> None:
    """Put a checkpoint's weights and clock into a model, and see that training can go on.

    Lightning will load the optimisers' state, and takes whatever is there.

    Raises:
        SettingError: if the checkpoint is damaged, or belongs to another model or other optimisers.
    """
    checkpoint = load_checkpoint(path)
    restore(model, path, checkpoint)
    with fitting(path):
        expect(
            checkpoint,
            {"optimizer_states": [{"state": dict, "param_groups": [dict]}]},
            "its content",
        )
        stored, own = checkpoint["optimizer_states"], model.configure_optimizers()
        if len(stored) != len(own):
            raise ValueError(f"it has the state of {len(stored)} optimisers, and not of {len(own)}")
        for state, optimizer in zip(stored, own, strict=True):
            _compare_optimizer(state, optimizer)


def _compare_optimizer(stored: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Check that a stored state has the settings' names and the weights' shapes of an optimiser."""
    own = optimizer.state_dict()["param_groups"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if list(map(_kinds, stored["param_groups"])) != list(map(_kinds, own)):
        raise ValueError("an optimiser's settings are others")
    for index, entries in stored["state"].items():
        if type(index) is not int or not 0 <= index < len(weights) or not isinstance(entries, dict):
            raise ValueError(f"an optimiser's state is of no weight: {index}")
        for name, value in entries.items():
            if not isinstance(value, torch.Tensor) or value.shape not in ((), weights[index].shape):
                raise ValueError(f"an optimiser's {name} does not fit its weight")


def _kinds(group: Mapping[str, Any]) -> dict[str, Any]:
    """Names and types of an optimiser's settings, which schedules change, and its weights."""
    alike = {int: float, tuple: list}
    return {
        name: value if name == "params" else alike.get(type(value), type(value))
        for name, value in group.items()
    }


def restore(
    model: GenerativeModel, path: Path, checkpoint: Mapping[str, Any] | None = None
) -> None:
    """Put a checkpoint's weights and clock into a model.

    Args:
        model: as its configuration describes it.
        path: of the checkpoint.
        checkpoint: what was read there, if it was read already.

    Raises:
        SettingError: if it is damaged, or belongs to another model.
    """
    checkpoint = load_checkpoint(path) if checkpoint is None else checkpoint
    with fitting(path):
        expect(checkpoint, SAVED, "its content")
        compare(model, checkpoint["state_dict"])
        wrong = [k for k, v in checkpoint["state_dict"].items() if not v.isfinite().all()]
        if wrong:
            raise ValueError(f"{wrong[0]} has values that are not finite: the training diverged")
        model.load_state_dict(checkpoint["state_dict"])
        model.on_load_checkpoint(checkpoint)


def compare(model: GenerativeModel, state: Mapping[str, Any]) -> None:
    """Check that stored tensors are a model's by name, shape and type.

    Raises:
        ValueError: naming the first that is not.
    """
    own = model.state_dict()
    for name in [*own, *(name for name in state if name not in own)]:
        if name not in state:
            raise ValueError(f"it has no {name}")
        stored, expected = state[name], own.get(name)
        if expected is None or not isinstance(stored, torch.Tensor):
            raise ValueError(f"{name} is no part of the model")
        if (stored.shape, stored.dtype) != (expected.shape, expected.dtype):
            shapes = [
                f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in (stored, expected)
            ]
            raise ValueError(f"{name} is {shapes[0]}, and not {shapes[1]}")


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"The checkpoint {path} is not of this model:\n{line(str(error))}"
        ) from error
