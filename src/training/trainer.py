"""From a checked configuration, or a run folder, to model, data, loggers and trainer."""

import ctypes
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)

from src.config.plugins import prefixes
from src.data.spec import DataSpec
from src.distributed import ranks
from src.errors import SettingError, TrainingError
from src.models.base import GenerativeModel
from src.networks.precision import bf16_gains
from src.runs.wandb_access import wandb_mode
from src.training.busy import describe_contention
from src.training.checkpoints import AtomicCheckpointIO
from src.training.instantiate import build
from src.training.loggers import RunLogger

# Numbers below 1e-38 are 0: processors take a hundred times as long for them. Adam's averages of a
# gradient that has died out get stuck there, as 0.9 times the smallest number rounds to it. Threads
# take the mode from the one that starts them, so it is set before there are any.
for _kind in (np.float32, np.float64):
    np.finfo(_kind).smallest_subnormal  # noqa: B018  numpy before 2.4 looks once, and complains of 0
torch.set_flush_denormal(True)


def choose_precision(setting: str, kind: str, device: torch.device) -> str:
    """Precision by Lightning's name; `auto` is bfloat16 autocast where it is faster.

    Points stay in float32: their networks are too small to gain, and eight bits are few for a
    position.
    """
    if setting != "auto":
        return setting
    return "bf16-mixed" if kind != "points" and bf16_gains(device) else "32-true"


class CachedMixedPrecision(MixedPrecision):
    """Casts each weight once and not once per pass; `GenerativeModel.update` ends the copies' life.

    Lightning keeps no copies, since it cannot know when weights change. D is passed two or three
    times between two updates.
    """

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16)


def precision_plugin(precision: str, device: torch.device) -> Precision:
    """Plugin for a precision by Lightning's name."""
    mixed = precision == "bf16-mixed"
    return CachedMixedPrecision(precision, device.type) if mixed else Precision()


@contextmanager
def build_loggers(
    settings: Mapping[str, Any],
    folder: Path,
    leads: bool = True,
    choices: Mapping[str, str | None] | None = None,
    clock: int = 0,
) -> Iterator[list[Logger]]:
    """Build the loggers of a run; they are closed after the `with` block, as failed after an error.

    Args:
        settings: checked and resolved.
        folder: run folder.
        leads: True on rank 0; the others log nothing.
        choices: names of the run's presets and parts.
        clock: samples seen where the run goes on.
    """
    if not leads:
        yield []
        return
    given: dict[str, dict[str, Any]] = {
        "csv": {"folder": str(folder)},
        "tensorboard": {"folder": str(folder), "clock": clock, "config": settings},
    }
    nodes = dict(settings["logger"])
    if "wandb" in nodes:
        mode = wandb_mode(settings["wandb"]["mode"])
        # Its variant: the seeds of one share it, and W&B groups by name.
        name = "/".join(part for part in folder.parts[-4:] if not part.startswith("seed="))
        given["wandb"] = {"folder": str(folder), "mode": mode, "name": name, "config": settings}
        given["wandb"]["choices"] = choices or {}
        if mode == "disabled":
            del nodes["wandb"]
    own = prefixes(settings["plugins"])
    loggers = [
        build(node, Logger, f"logger.{name}", own, **given.get(name, {}))
        for name, node in nodes.items()
    ]
    failed = True
    try:
        yield loggers
        failed = False
    finally:
        for logger in loggers:
            if isinstance(logger, RunLogger):
                logger.finish(failed)


def build_trainer(
    settings: Mapping[str, Any], folder: Path, spec: DataSpec, callbacks: list, loggers: list
) -> L.Trainer:
    """Lightning's trainer: it moves, casts and calls; clock, schedules and files are ours."""
    _quieten_lightning()
    options = dict(settings["trainer"])
    device = choose_device(options["accelerator"])
    if ranks.count() > 1:
        # To Lightning each rank is alone on its device; see `src/distributed/ranks.py`.
        cuda = device.type == "cuda"
        options |= {"accelerator": device.type, "devices": [ranks.rank()] if cuda else 1}
    precision = choose_precision(options.pop("precision"), spec.kind, device)
    options.pop("overfit_batches", None)  # the data stream repeats them
    profiler = options.pop("profiler", None)
    profiler = _profiler(profiler if ranks.rank() == 0 else None, folder / "profile")
    if device.type == "cpu":
        if ranks.rank() == 0 and (contention := describe_contention()):
            print(contention)
        keep_freed_memory()
        if not torch.cuda.is_available():
            # Each step of an optimiser asks for GPUs, and Lightning has the driver searched for.
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    return L.Trainer(
        **options,
        max_epochs=-1,  # the data stream is endless: the budget callback ends it
        logger=loggers,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), precision_plugin(precision, device)],
        profiler=profiler,
        default_root_dir=str(folder),
        log_every_n_steps=10**9,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def _profiler(name: str | None, folder: Path) -> Profiler | None:
    """Lightning's profiler of this name; it writes its table, and torch's a trace, to a folder."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    if name is None:
        return None
    more = {}
    if name == "pytorch":

        def write(made: torch.profiler.profile) -> None:
            folder.mkdir(exist_ok=True)
            made.export_chrome_trace(str(folder / "trace.json"))

        more = {"on_trace_ready": write}
    return kinds[name](folder, "table", **more)


def keep_freed_memory() -> None:
    """Have glibc keep what one iteration frees for the next, where it is the allocator.

    It would hand activations back to the system and fetch them anew, page by page, in every
    iteration: 4 % of DCGAN's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
        mallopt(mmap_threshold, 32 * 2**20)  # the most that glibc accepts
        mallopt(trim_threshold, 2**31 - 1)


def _quieten_lightning() -> None:
    """Advertisements, and warnings of what is meant: `dataloader_iter` is tested here."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*dataloader_iter")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start")  # the EMA


@contextmanager
def naming_the_operation(model: GenerativeModel) -> Iterator[None]:
    """Turn what autograd's anomaly detection finds into a `TrainingError` that names the line."""
    told: list[str] = []
    show = warnings.showwarning

    def listen(message: Warning | str, *rest: Any, **more: Any) -> None:
        if str(message).startswith("Error detected in"):
            told.append(str(message))  # with the traceback of the forward call
        else:
            show(message, *rest, **more)

    warnings.showwarning = listen
    try:
        yield
    except RuntimeError as error:
        found = re.search(r"Function '(\w+)' returned nan", str(error))
        if not found:
            raise
        calls = re.findall(r'File "(.+)", line (\d+), in .+\n +(.+)', "".join(told))
        # The last call outside of torch.
        own = [call for call in calls if "site-packages" not in call[0]] or calls
        where = "\n{}, line {}: {}".format(*own[-1]) if own else ""
        raise TrainingError(
            f"The gradient of {found[1].removesuffix('Backward0')} is NaN, at "
            f"{model.samples_seen:,} samples; the training was stopped.{where}"
        ) from error
    finally:
        warnings.showwarning = show


def choose_device(setting: str) -> torch.device:
    """The device that `auto`, an accelerator's name or a device's name stands for.

    Raises:
        SettingError: if there is none of that name.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device("cuda" if setting == "gpu" else setting)
    except RuntimeError as error:
        raise SettingError(f"device={setting} is unknown. Use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(f"device={setting}: no GPU is found here. Use auto or cpu.")
    return device
