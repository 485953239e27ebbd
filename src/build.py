"""From a checked configuration, or a run folder, to model, data, loggers and trainer."""

import ctypes
import logging
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

from src import ranks
from src.callbacks.checkpoint import AtomicCheckpointIO, load_checkpoint
from src.checks import RECIPE
from src.data.base import DataModule, DataSpec
from src.data.sources import missing
from src.errors import SettingError
from src.escape import line
from src.instantiate import build
from src.loggers import wandb_mode
from src.models.base import GenerativeModel
from src.runs import Run
from src.stored import expect, is_amount, is_count

CPUINFO = Path("/proc/cpuinfo")

# Numbers below 1e-38 are 0: processors take a hundred times as long for them. Adam's averages of a
# gradient that has died out get stuck there, as 0.9 times the smallest number rounds to it. Threads
# take the mode from the one that starts them, so it is set before there are any.
for _kind in (np.float32, np.float64):
    np.finfo(_kind).smallest_subnormal  # noqa: B018  numpy before 2.4 looks once, and complains of 0
torch.set_flush_denormal(True)


def build_data(settings: Mapping[str, Any]) -> DataModule:
    """The data module; no file is decoded yet."""
    batch_size = settings["model"]["batch_size"]
    return build(settings["data"], DataModule, "data", batch_size=batch_size, seed=settings["seed"])


def build_model(settings: Mapping[str, Any], spec: DataSpec) -> GenerativeModel:
    """The model with the initial weights of its seed."""
    node = {key: value for key, value in settings["model"].items() if key not in RECIPE}
    torch.manual_seed(settings["seed"])
    model = build(node, GenerativeModel, "model", spec=spec, seed=settings["seed"])
    model.budget = settings["budget"]
    # Convolutions are faster with channels last, on GPUs and on CPUs; others do not care.
    return model.to(memory_format=torch.channels_last) if spec.kind == "images" else model


# What is used of a checkpoint beside its tensors; shapes as `src.stored.expect` takes them.
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


def load_model(run: Run) -> GenerativeModel:
    """The trained model of a run folder, on the CPU. Its data need not be there.

    Anybody may have written the folder: what its checkpoint holds is compared with what its
    configuration describes before any memory is taken for it.

    Of a run that has not reached its end it is the last that was saved, which is said.

    Raises:
        SettingError: if there is no checkpoint, or it does not fit the configuration.
    """
    settings, path = run.settings, run.checkpoint
    if path is None:
        raise SettingError(f"run={run.folder} has no checkpoint yet: let it train first.")
    checkpoint = load_checkpoint(path)
    with _fitting(path):
        expect(checkpoint, SAVED, "its content")
        spec = DataSpec(**checkpoint["sparring"]["spec"])
        with torch.device("meta"):  # shapes without memory
            _compare(build_model(settings, spec), checkpoint["state_dict"])
    model = build_model(settings, spec)
    restore(model, path, checkpoint)
    status = run.status
    if status != "finished":
        how = f"has failed ({run.summary.get('error')})" if status == "failed" else f"is {status}"
        print(line(f"Note: the run {how}; its model is of {model.samples_seen:,} samples.", 400))
    return model.eval()


def restore_for_training(model: GenerativeModel, path: Path) -> None:
    """Put a checkpoint's weights and clock into a model, and see that training can go on.

    Lightning will load the optimisers' state, and takes whatever is there.

    Raises:
        SettingError: if the checkpoint is damaged, or belongs to another model or other optimisers.
    """
    checkpoint = load_checkpoint(path)
    restore(model, path, checkpoint)
    with _fitting(path):
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
    with _fitting(path):
        expect(checkpoint, SAVED, "its content")
        _compare(model, checkpoint["state_dict"])
        wrong = [k for k, v in checkpoint["state_dict"].items() if not v.isfinite().all()]
        if wrong:
            raise ValueError(f"{wrong[0]} has values that are not finite: the training diverged")
        model.load_state_dict(checkpoint["state_dict"])
        model.on_load_checkpoint(checkpoint)


def _compare(model: GenerativeModel, state: Mapping[str, Any]) -> None:
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


def load_data(run: Run, spec: DataSpec, root: str | None, cache: str) -> DataModule:
    """The data that a run was trained on, set up.

    Args:
        run: of which the configuration says what they are.
        spec: what its model was made for.
        root: where they lie now; None is where the run had them, from where they are read, but only
            if their content is the recorded one.
        cache: of the caller.

    Raises:
        SettingError: if they are not there, or these are others.
    """
    settings = run.settings
    trained_on = run.summary.get("data_id")
    cure = "Pass data.root=PATH to the original data."
    data = settings["data"] = settings["data"] | {"cache": cache}
    if root is not None:
        data["root"] = root
    if data["source"] == "real":
        if root is None and not trained_on:
            raise SettingError(f"run={run.folder} does not say which its data were.\n{cure}")
        if reason := missing(data):  # nothing is downloaded on a folder's word
            raise SettingError(f"data.root={line(str(data['root']))}: {reason}.\n{cure}")
        if root is None:
            print(line(f"Reading the run's data at {data['root']}", 400))
    module = build_data(settings)
    if module.spec != spec:
        raise SettingError(
            f"run={run.folder}: the model makes {spec.kind} {list(spec.shape)}, and the data are "
            f"{module.spec.kind} {list(module.spec.shape)}, or of other classes.\n{cure}"
        )
    module.setup()
    if trained_on and trained_on != module.data_id:
        raise SettingError(
            f"These are not the data of the run: hash {module.data_id['hash']}, but the run was "
            f"trained on {line(str(trained_on.get('hash')), 20)}.\n{cure}"
        )
    return module


@contextmanager
def _fitting(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SettingError(
            f"The checkpoint {path} is not of this model:\n{line(str(error))}"
        ) from error


def precision_of(setting: str, kind: str, device: torch.device) -> str:
    """`auto` in words that Lightning knows: bfloat16 autocast where it is faster.

    Points stay in float32: their networks are too small to gain, and eight bits are few for a
    position.
    """
    if setting != "auto":
        return setting
    if kind == "points":
        return "32-true"
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(False) else "32-true"
    return "bf16-mixed" if _fast_bf16_on_cpu() else "32-true"


def _fast_bf16_on_cpu() -> bool:
    """Whether bfloat16 products are faster than float32's here.

    Intel's are with AMX only: AVX-512 alone makes them half as fast (measured: 80 and 150 GFLOPS),
    and virtual machines often hide AMX. AMD's AVX-512 makes them twice as fast.
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    intel = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text()
    return torch.cpu._is_avx512_bf16_supported() and not intel


class CachedMixedPrecision(MixedPrecision):
    """Casts each weight once and not once per pass; `GenerativeModel.update` ends the copies' life.

    Lightning keeps no copies, since it cannot know when weights change. D is passed two or three
    times between two updates.
    """

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16)


def precision_plugin(precision: str, device: torch.device) -> Precision:
    """What Lightning casts with, for a precision in its words."""
    mixed = precision == "bf16-mixed"
    return CachedMixedPrecision(precision, device.type) if mixed else Precision()


@contextmanager
def build_loggers(settings: Mapping[str, Any], folder: Path) -> Iterator[list[Logger]]:
    """The loggers of a run, closed at the end of the `with` block, as failed after an error."""
    mode = wandb_mode(settings["wandb"]["mode"])
    loggers = [build(settings["logger"]["csv"], Logger, "logger.csv", folder=str(folder))]
    if mode != "disabled":
        # Its variant: the seeds of one share it, and W&B groups by name.
        name = "/".join(part for part in folder.parts[-4:] if not part.startswith("seed="))
        node = settings["logger"]["wandb"]
        given = {"folder": str(folder), "mode": mode, "name": name, "config": settings}
        loggers.append(build(node, Logger, "logger.wandb", **given))
    failed = True
    try:
        yield loggers
        failed = False
    finally:
        for logger in loggers:
            if hasattr(logger, "finish"):
                logger.finish(failed)


def build_trainer(
    settings: Mapping[str, Any], folder: Path, spec: DataSpec, callbacks: list, loggers: list
) -> L.Trainer:
    """Lightning's trainer: it moves, casts and calls; clock, schedules and files are ours."""
    _quieten_lightning()
    options = dict(settings["trainer"])
    device = device_of(options["accelerator"])
    if ranks.count() > 1:
        # To Lightning each rank is alone on its device; see `src/ranks.py`.
        cuda = device.type == "cuda"
        options |= {"accelerator": device.type, "devices": [ranks.rank()] if cuda else 1}
    precision = precision_of(options.pop("precision"), spec.kind, device)
    if device.type == "cpu":
        keep_freed_memory()
    return L.Trainer(
        **options,
        max_epochs=-1,  # the data stream is endless: the budget callback ends it
        logger=loggers,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), precision_plugin(precision, device)],
        default_root_dir=str(folder),
        log_every_n_steps=10**9,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=any(isinstance(c, ProgressBar) for c in callbacks),
        enable_model_summary=False,
        enable_checkpointing=False,
    )


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


def device_of(setting: str) -> torch.device:
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
