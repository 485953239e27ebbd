"""One training, from a checked configuration to the summary of its run folder."""

import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.config.composition import choices_of, plain
from src.distributed.processes import train_on_ranks
from src.errors import SettingError
from src.runs.escape import line
from src.runs.provenance import provenance
from src.runs.run import Run
from src.training.summary import report


def train(config: DictConfig, folder: Path) -> dict[str, Any]:
    """Train, score and record one run.

    Args:
        config: composed from `conf/train.yaml`, checked, its data source resolved.
        folder: the run folder.

    Returns:
        The summary, as in summary.json.

    Raises:
        SettingError: if the folder, the data or a setting forbid it.
        TrainingError: if the training diverged.
    """
    settings = plain(config)
    with closing(Run(folder)) as run:
        state = run.open(settings, settings["existing"])
        if state != "finished":
            begun = "Resuming" if state == "interrupted" else "Training"
            print(f"{begun} in {line(str(folder), 400)}")
            resume = state == "interrupted"
            chosen = choices_of(config)
            if settings["trainer"]["devices"] > 1:
                train_on_ranks(settings, chosen, run, resume)
            else:
                work(settings, chosen, run, resume)
        elif run.settings["data"]["root"] != settings["data"]["root"]:
            load_data(settings, run)  # the same in another place, or others?
        report(run, repeated=state == "finished")
        return run.summary


def work(settings: dict[str, Any], choices: dict[str, str], run: Run, resume: bool) -> None:
    """Train, score and record, alone or as rank 0 of several; as another rank, help it to train."""
    from src.distributed import ranks

    data, model = prepare(settings, run, resume)
    if ranks.rank() > 0:
        follow(settings, run, data, model, resume)
        return
    made_by = {"seed": settings["seed"], "choices": choices} | provenance()
    run.update_summary(status="running", error=None, data_id=data.data_id, **made_by)
    try:
        fit(settings, run, data, model, resume)
    except Exception as error:
        run.update_summary(status="failed", error=str(error).partition("\n")[0])
        raise


def load_data(settings: dict[str, Any], run: Run) -> "DataModule":  # noqa: F821
    """The data of a run; torch is imported here.

    Raises:
        SettingError: if there are none, or not those that the run began with.
    """
    from src.training.instantiate import build_data

    data = build_data(settings)
    data.setup()
    known = run.summary.get("data_id") or data.data_id
    if run.checkpoint and known != data.data_id:
        raise SettingError(
            f"data.root={settings['data']['root']} has other data than the run in {run.folder} "
            f"began with: hash {data.data_id['hash']}, not {known['hash']}.\n"
            "Choose another hydra.run.dir=..., or existing=restart to train on the new data."
        )
    return data


def prepare(
    settings: dict[str, Any], run: Run, resume: bool
) -> tuple["DataModule", "GenerativeModel"]:  # noqa: F821
    """Data and model, at the checkpoint if there is one.

    Raises:
        SettingError: if they cannot be built or do not fit the run, which is left as it was.
    """
    from src.distributed import ranks
    from src.runs.metrics_file import cut_back
    from src.training.checkpoints import restore_for_training
    from src.training.instantiate import build_model

    with ranks.in_turn():  # the first may have to fill the cache
        data = load_data(settings, run)
    model = build_model(settings, data.spec)
    if resume:
        restore_for_training(model, run.checkpoint)
    if ranks.rank() > 0:
        return data, model
    if resume:
        run.store(settings)
    # A run that was killed has rows past its last checkpoint, or has rows and no checkpoint yet.
    cut_back(run / "metrics.csv", model.samples_seen)
    return data, model


def fit(
    settings: dict[str, Any],
    run: Run,
    data: "DataModule",  # noqa: F821
    model: "GenerativeModel",  # noqa: F821
    resume: bool,
) -> None:
    """Train, score and write the summary."""
    from lightning import Callback

    from src.callbacks.equilibrium import Equilibrium
    from src.callbacks.quality import Quality
    from src.callbacks.signals import Signals
    from src.callbacks.together import Together
    from src.distributed import ranks
    from src.metrics.scorers import make_scorers
    from src.training.cost import cost
    from src.training.instantiate import build
    from src.training.trainer import build_loggers, build_trainer

    callbacks = [
        build(node, Callback, f"callbacks.{name}") for name, node in settings["callbacks"].items()
    ]
    callbacks += [Together()] if ranks.count() > 1 else []
    quality = next((c for c in callbacks if isinstance(c, Quality)), Quality())
    quality.scorers = make_scorers(settings["metrics"], data, model)
    with build_loggers(settings, run.folder) as loggers:
        trainer = build_trainer(settings, run.folder, data.spec, callbacks, loggers)
        _run(trainer, model, data, run.checkpoint if resume else None)
        stopped_by = next((c.interrupted_by for c in callbacks if isinstance(c, Signals)), None)
        summary = {
            "status": "interrupted" if stopped_by else "finished",
            "stopped": next((c.reason for c in callbacks if isinstance(c, Equilibrium)), None),
            "metrics": quality.latest.values | quality.headline,
            "headline": list(quality.headline),
            "protocols": quality.latest.protocols,
            "scores": quality.history,
            **cost(model, trainer),
        }
        run.update_summary(**summary)
        for logger in loggers:
            if hasattr(logger, "log_summary"):
                logger.log_summary(run.summary)
    if stopped_by:
        print(f"Saved at {model.samples_seen:,} samples. The same command goes on from there.")
        sys.exit(128 + signal.Signals[stopped_by])  # as shells do: 130, 143


def follow(
    settings: dict[str, Any],
    run: Run,
    data: "DataModule",  # noqa: F821
    model: "GenerativeModel",  # noqa: F821
    resume: bool,
) -> None:
    """What a rank above 0 does of `fit`: the training, and nothing beside it."""
    from src.callbacks.together import Together
    from src.training.trainer import build_trainer

    trainer = build_trainer(settings, run.folder, data.spec, [Together()], [])
    _run(trainer, model, data, run.checkpoint if resume else None)


def _run(
    trainer: "Trainer",  # noqa: F821
    model: "GenerativeModel",  # noqa: F821
    data: "DataModule",  # noqa: F821
    checkpoint: Path | None,
) -> None:
    from lightning.pytorch.callbacks import LambdaCallback

    begun: list[bool] = []
    trainer.callbacks.append(LambdaCallback(on_train_start=lambda *_: begun.append(True)))
    path = str(checkpoint) if checkpoint else None
    try:
        trainer.fit(model, datamodule=data, ckpt_path=path, weights_only=True)
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if begun or checkpoint is None or isinstance(error, SettingError):
            raise
        raise SettingError(
            f"The checkpoint {checkpoint} cannot be resumed from:\n{line(str(error))}\n"
            "Use existing=restart to train anew."
        ) from error
