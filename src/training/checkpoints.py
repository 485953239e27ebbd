"""Checkpoints that survive a kill at any moment, load without running code, and fit their model.

A run keeps `checkpoints/last.ckpt` in Lightning's layout (`state_dict`, `optimizer_states` ...) and
the one before it.
"""

import errno
import math
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
from src.runs.tensor_files import RefusedError, is_whole, read_checkpoint

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)  # of file systems without hard links


def _are_records(value: Any) -> bool:
    """True if a value holds sums, each with the number of its terms, by name."""
    return isinstance(value, dict) and all(
        type(record) is tuple and [*map(type, record)] == [float, int] and is_count(record[1])
        for record in value.values()
    )


def _are_counters(value: Any) -> bool:
    """True if all leaves of containers are counts, flags and None, as of Lightning's loops."""
    if isinstance(value, dict | list):
        return all(map(_are_counters, value.values() if isinstance(value, dict) else value))
    return value is None or type(value) is bool or is_count(value)


SPEC = {"kind": str, "shape": tuple, "classes": tuple, "picture_shape?": tuple}
SPEC |= {"masked?": bool, "paired?": bool}

# What is used of a checkpoint beside its tensors; shapes as `src.runs.stored.expect` takes them.
SAVED = {
    "state_dict": dict,
    "sparring": {
        "spec": SPEC | {"source?": SPEC | {"source?": lambda _: False}},
        "samples_seen": is_count,
        "iteration": is_count,
        "updates": {"*": is_count},
        "rested?": {"*": is_count},
        "seconds": is_amount,
        "records": _are_records,
    },
}
# What is used beside that to go on training.
RESUMED = SAVED | {
    "optimizer_states": [{"state": dict, "param_groups": [dict]}],
    "loops": _are_counters,
}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes atomically, keeps the previous file, and loads tensors and plain values only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str, storage_options: Any | None = None
    ) -> None:
        path = Path(path)
        previous = path.with_name("previous.ckpt")
        # A buffer may be a slice, whose whole storage would be saved, and refused when it is read.
        for name, tensor in checkpoint.get("state_dict", {}).items():
            if not is_whole(tensor):
                checkpoint["state_dict"][name] = tensor.clone(memory_format=torch.contiguous_format)
        try:
            with replacing(path) as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
                if path.exists():
                    # A second name for the old file, so that at no moment there is none.
                    link = path.with_name(".previous")
                    link.unlink(missing_ok=True)
                    try:
                        os.link(path, link)
                    except OSError as error:
                        if error.errno not in NO_LINKS:
                            raise
                        shutil.copyfile(path, link)
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
        return read_checkpoint(path, whole=True)
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
    with fitting(path):
        expect(checkpoint, RESUMED, "its content")
        stored, own = checkpoint["optimizer_states"], model.configure_optimizers()
        if len(stored) != len(own):
            raise ValueError(f"it has the state of {len(stored)} optimisers, and not of {len(own)}")
        for state, optimizer in zip(stored, own, strict=True):
            compare_optimizer(state, optimizer)
    restore(model, path, checkpoint)


def compare_optimizer(stored: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Check that a state is what a step of an optimiser leaves, by names, types and shapes.

    torch takes whatever is there, and fused optimisers write past the end of tensors that are too
    small.

    Args:
        stored: the state.
        optimizer: takes a step to be compared with; its weights must be loaded afterwards.

    Raises:
        ValueError: naming what is different.
    """
    groups, own = stored["param_groups"], optimizer.state_dict()["param_groups"]
    if len(groups) != len(own) or not all(map(_same_settings, groups, own)):
        raise ValueError("an optimiser's settings are others")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for index, entries in stored["state"].items():
        if type(index) is not int or not 0 <= index < len(weights) or not isinstance(entries, dict):
            raise ValueError(f"an optimiser's state is of no weight: {index}")
        weight = weights[index]
        made = optimizer.state[weight]
        if entries.keys() != made.keys():
            raise ValueError(f"an optimiser's state has {sorted(map(str, entries))}")
        for name, value in entries.items():
            # Numbers beside a weight are counts. If it is a number itself, only the step is one.
            counts = weight.ndim > 0 or name == "step"
            if not _same_kind(value, made[name], counts):
                raise ValueError(f"an optimiser's {name} does not fit its weight")


def _same_settings(stored: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """True if two groups of an optimiser agree in all but numbers.

    Schedules change these, and so may a configuration that a run is resumed with.
    """
    return (
        stored.keys() == own.keys()
        and stored["params"] == own["params"]
        and all(_same_setting(stored[name], own[name]) for name in own if name != "params")
        and all(beta < 1 for beta in stored.get("betas", ()))
    )


def _same_setting(stored: Any, own: Any) -> bool:
    if type(own) in (int, float):
        return is_amount(stored)
    if isinstance(own, list | tuple):
        pairs = isinstance(stored, list | tuple) and len(stored) == len(own)
        return pairs and all(map(_same_setting, stored, own))
    return type(stored) is type(own) and stored == own


def _same_kind(stored: Any, made: Any, counts: bool) -> bool:
    """True if an entry of an optimiser's state has the type and shape of another.

    Where it is a number that `counts`, it must be one that a count can be.
    """
    if type(stored) is not type(made) or not isinstance(made, torch.Tensor):
        return type(stored) is type(made)
    if (stored.shape, stored.dtype) != (made.shape, made.dtype):
        return False
    return not counts or made.ndim > 0 or bool(0 <= stored < math.inf)


def restore(
    model: GenerativeModel, path: Path, checkpoint: Mapping[str, Any] | None = None
) -> None:
    """Put a checkpoint's weights and clock into a model.

    Args:
        model: as its configuration describes it.
        path: path of the checkpoint.
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


def afford(model: GenerativeModel, state: Mapping[str, torch.Tensor]) -> None:
    """Check that a model takes no more memory than what is stored of it.

    Args:
        model: on the meta device, where weights take none.
        state: tensors that fit it. Several can be the same in a file, and not in the model.

    Raises:
        ValueError: if it takes more.
    """
    need, held = (
        sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())
        for tensors in (model.state_dict().values(), state.values())
    )
    if need > held:
        raise ValueError(f"its weights take {held:,} bytes, and the model's take {need:,}")


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"The checkpoint {path} is not of this model:\n{line(str(error))}"
        ) from error
