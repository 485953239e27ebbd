"""From a checked configuration to objects; the only place that instantiates a `_target_`."""

import ctypes
import logging
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import MixedPrecision, Precision

from src import ranks
from src.callbacks.checkpoint import AtomicCheckpointIO, load_checkpoint
from src.checks import ADVICE, RECIPE
from src.data.base import DataModule, DataSpec
from src.errors import SettingError
from src.loggers import wandb_mode
from src.models.base import GenerativeModel
from src.runs import Run
from src.signatures import check_targets

CPUINFO = Path("/proc/cpuinfo")

# Numbers below 1e-38 are 0: processors take a hundred times as long for them. Adam's averages of a
# gradient that has died out get stuck there, as 0.9 times the smallest number rounds to it. Threads
# take the mode from the one that starts them, so it is set before there are any.
for _kind in (np.float32, np.float64):
    np.finfo(_kind).smallest_subnormal  # noqa: B018  numpy before 2.4 looks once, and complains of 0
torch.set_flush_denormal(True)


def without_advice(node: Any) -> Any:
    """A configuration without the entries that are for other settings and not for constructors."""
    if isinstance(node, Mapping):
        return {k: without_advice(v) for k, v in node.items() if k not in ADVICE}
    return node


def build(node: Mapping[str, Any], **arguments: Any) -> Any:
    """Instantiate a node, with plain lists and dictionaries from its configuration.

    Raises:
        SettingError: as a constructor raised it, or if a `_target_` may not be built.
    """
    check_targets(node)
    try:
        # In two steps, since Hydra would turn arguments such as a dataclass into dictionaries.
        return instantiate(without_advice(node), _partial_=True, _convert_="all")(**arguments)
    except InstantiationException as error:
        raise (error.__cause__ if isinstance(error.__cause__, SettingError) else error) from None


def build_data(settings: Mapping[str, Any]) -> DataModule:
    """The data module; no file is decoded yet."""
    batch_size = settings["model"]["batch_size"]
    return build(settings["data"], batch_size=batch_size, seed=settings["seed"])


def build_model(settings: Mapping[str, Any], spec: DataSpec) -> GenerativeModel:
    """The model with the initial weights of its seed."""
    node = {key: value for key, value in settings["model"].items() if key not in RECIPE}
    torch.manual_seed(settings["seed"])
    model = build(node, spec=spec, seed=settings["seed"])
    model.budget = settings["budget"]
    # Convolutions are faster with channels last, on GPUs and on CPUs; others do not care.
    return model.to(memory_format=torch.channels_last) if spec.kind == "images" else model


def load_model(run: Run) -> GenerativeModel:
    """The trained model of a run folder, on the CPU. Its data need not be there.

    Of a run that has not reached its end it is the last that was saved, which is said.

    Raises:
        SettingError: if there is no checkpoint, or it does not fit the configuration.
    """
    settings, path = run.settings, run.checkpoint
    if path is None:
        raise SettingError(f"run={run.folder} has no checkpoint yet: let it train first.")
    with _fitting(path):
        spec = DataSpec(**load_checkpoint(path)["sparring"]["spec"])
    model = build_model(settings, spec)
    restore(model, path)
    status = run.status
    if status != "finished":
        how = f"has failed ({run.summary['error']})" if status == "failed" else f"is {status}"
        print(f"Note: the run {how}; its model is of {model.samples_seen:,} samples.")
    return model.eval()


def restore(model: GenerativeModel, path: Path) -> None:
    """Put a checkpoint's weights and clock into a model.

    Raises:
        SettingError: if it is damaged, or belongs to another model.
    """
    checkpoint = load_checkpoint(path)
    with _fitting(path):
        model.load_state_dict(checkpoint["state_dict"])
        model.on_load_checkpoint(checkpoint)


def load_data(run: Run, root: str | None = None) -> DataModule:
    """The data that a run was trained on, set up.

    Args:
        run: of which the configuration says what they are.
        root: where they lie now, if they have moved.

    Raises:
        SettingError: if they are not there, or these are others.
    """
    settings = run.settings
    if root is not None:
        settings["data"]["root"] = root
    data = build_data(settings)
    data.setup()
    trained_on = run.summary.get("data_id")
    if trained_on and trained_on != data.data_id:
        raise SettingError(
            f"These are not the data of the run: hash {data.data_id['hash']}, but the run was "
            f"trained on {trained_on['hash']}.\nSay data.root=... of the right ones."
        )
    return data


@contextmanager
def _fitting(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SettingError(
            f"The checkpoint {path} is not of this model:\n{textwrap.shorten(reason, 200)}"
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
    loggers = [build(settings["logger"]["csv"], folder=str(folder))]
    if mode != "disabled":
        # Its variant: the seeds of one share it, and W&B groups by name.
        name = "/".join(part for part in folder.parts[-4:] if not part.startswith("seed="))
        node = settings["logger"]["wandb"]
        loggers.append(build(node, folder=str(folder), mode=mode, name=name, config=settings))
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
