"""One training, from a checked configuration to the summary of its run folder."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src.config.composition import get_choices, plain
from src.config.plugins import prefixes, source_hashes
from src.distributed.processes import train_on_ranks
from src.errors import SettingError, TrainingError
from src.runs.escape import line
from src.runs.provenance import provenance
from src.runs.run import Run
from src.runs.wall import WallTime
from src.training.summary import report


def train(config: DictConfig, folder: Path, begun: float | None = None) -> dict[str, Any]:
    """Train, score and record one run, in this process or on several ranks.

    Args:
        config: composed from `conf/train.yaml`, checked, its data source resolved.
        folder: run folder.
        begun: `time.perf_counter()` when the command began; None is now.

    Returns:
        The summary, as in summary.json.

    Raises:
        SettingError: if the folder, the data or a setting forbid it.
        TrainingError: if the training diverged.
    """
    begun = time.perf_counter() if begun is None else begun
    settings = plain(config)
    with closing(Run(folder, settings["plugins"])) as run:
        state = run.open(settings, settings["existing"])
        if state != "finished":
            resume = state == "interrupted"
            print(f"{'Resuming' if resume else 'Training'} in {line(str(folder), 400)}")
            _say_if_the_penalty_changes_d(config)
            if settings["trainer"]["devices"] > 1:
                train_on_ranks(settings, get_choices(config), run, resume)
            else:
                fit(settings, get_choices(config), run, resume, begun)
        elif run.settings["data"]["root"] != settings["data"]["root"]:
            load_data(settings, run)  # refused if they are not the data that it was trained on
        report(run, repeated=state == "finished")
        return run.summary


def _say_if_the_penalty_changes_d(config: DictConfig) -> None:
    """Print that D has no batch norm where the penalty, and no setting of D, decides so."""
    d = plain(config, resolve=False)["model"].get("discriminator", {})
    follows = d.get("norm") == "${..penalty.discriminator_norm}"
    if follows and config.data.kind == "images" and config.model.discriminator.norm == "none":
        penalty = get_choices(config)["model/penalty"]
        print(
            f"model/penalty={penalty} takes batch norm out of D: with it, the gradient at one "
            "sample depends on the whole batch.\nmodel.discriminator.norm=layer gives D another."
        )


def fit(
    settings: dict[str, Any],
    choices: dict[str, str],
    run: Run,
    resume: bool,
    begun: float | None = None,
) -> None:
    """Train and score one run, from top to bottom: data, model, callbacks, loggers, trainer.

    On several ranks each of them is here, in a process of its own. Rank 0 leads: it alone scores,
    draws, logs and writes to the run folder.

    Args:
        settings: checked and resolved.
        choices: names of its presets and parts, for the record.
        run: run folder, locked.
        resume: go on from its checkpoint.
        begun: `time.perf_counter()` when this process began its work; None is now.

    Raises:
        SettingError: if data or model cannot be built or do not fit the run, which stays as it was.
        TrainingError: if the training diverged.
        SystemExit: after a signal, when the checkpoint is saved.
    """
    wall = WallTime(begun)
    from src.callbacks.base import Shared, arrange
    from src.callbacks.together import Together
    from src.distributed import ranks
    from src.runs.metrics_file import cut_back
    from src.training.checkpoints import restore_for_training
    from src.training.cost import cost
    from src.training.instantiate import build_callbacks, build_model
    from src.training.loggers import RunLogger
    from src.training.scorers import build_scorers
    from src.training.trainer import build_loggers, build_trainer, naming_the_operation

    leads = ranks.rank() == 0

    with ranks.in_turn():  # the first may have to fill the cache
        wall.lap("start")
        data = load_data(settings, run, say=leads)
        wall.lap("data")

    model = build_model(settings, data.spec)
    if resume:
        restore_for_training(model, run.checkpoint)
    before = model.seconds

    if leads:
        if resume:
            run.store(settings)
        # A killed run has rows later than its last checkpoint, or rows and no checkpoint yet.
        cut_back(run / "metrics.csv", model.samples_seen)
        run.update_summary(
            status="running",
            error=None,
            data_id=data.data_id,
            seed=settings["seed"],
            choices=choices,
            plugins=source_hashes(settings["plugins"]),
            **provenance(),
        )

    with _recording_failure(run, leads):
        callbacks = build_callbacks(settings) if leads else []
        if ranks.count() > 1:
            callbacks.append(Together())
        wall.lap("start")
        own = prefixes(settings["plugins"])
        scorers = build_scorers(settings["metrics"], data, model, own) if leads else []
        wall.lap("scoring")
        shared = Shared(scorers, wall=wall)

        with build_loggers(settings, run.folder, leads, choices, model.samples_seen) as loggers:
            trainer = build_trainer(
                settings, run.folder, data.spec, arrange(callbacks, shared), loggers
            )
            if not (run / "config.yaml").exists():
                raise TrainingError(f"The run folder {run.folder} was removed.")
            resumed = _refusing_what_does_not_load(trainer, run.checkpoint if resume else None)
            with naming_the_operation(model), resumed as path:
                trainer.fit(model, datamodule=data, ckpt_path=path, weights_only=True)
            if not leads:
                return

            run.update_summary(
                status="interrupted" if shared.interrupted_by else "finished",
                stopped=shared.stopped,
                metrics=shared.scores.values | shared.headline,
                headline=list(shared.headline),
                protocols=shared.scores.protocols,
                scores=shared.history,
                wall=wall.summary(before, model.seconds),
                **cost(model, trainer),
            )
            for logger in loggers:
                if isinstance(logger, RunLogger):
                    logger.log_summary(run.summary)

    if shared.interrupted_by:
        print(f"Saved at {model.samples_seen:,} samples. The same command goes on from there.")
        sys.exit(128 + signal.Signals[shared.interrupted_by])  # as shells do: 130, 143


def load_data(settings: dict[str, Any], run: Run, say: bool = False) -> "DataModule":  # noqa: F821
    """Load the data of a run; torch is imported here.

    Args:
        settings: of the run.
        run: run folder.
        say: print a line on what was read.

    Raises:
        SettingError: if there are none, or not those that the run began with.
    """
    from src.training.instantiate import build_data

    data = build_data(settings)
    data.repeat = settings["trainer"].get("overfit_batches")
    data.setup()
    if say:
        print(data.describe())
    known = run.summary.get("data_id") or data.data_id
    if run.checkpoint and known != data.data_id:
        raise SettingError(
            f"data.root={settings['data']['root']} has other data than the run in {run.folder} "
            f"began with: hash {data.data_id['hash']}, not {known['hash']}.\n"
            "Choose another hydra.run.dir=..., or existing=restart to train on the new data."
        )
    return data


@contextmanager
def _recording_failure(run: Run, leads: bool) -> Iterator[None]:
    """Note down in the run's summary an error that ends the `with` block, if this rank leads."""
    try:
        yield
    except Exception as error:
        if leads and (run / "config.yaml").exists():  # a folder that was removed is not made anew
            run.update_summary(status="failed", error=str(error).partition("\n")[0])
        raise


@contextmanager
def _refusing_what_does_not_load(
    trainer: "Trainer",  # noqa: F821
    checkpoint: Path | None,
) -> Iterator[str | None]:
    """Turn an error of Lightning's loading of a checkpoint into a `SettingError`.

    Errors of the training itself, which are mistakes in code, pass.
    """
    from lightning.pytorch.callbacks import LambdaCallback

    begun: list[bool] = []
    trainer.callbacks.append(LambdaCallback(on_train_start=lambda *_: begun.append(True)))
    try:
        yield str(checkpoint) if checkpoint else None
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if begun or checkpoint is None or isinstance(error, SettingError):
            raise
        raise SettingError(
            f"The checkpoint {checkpoint} cannot be resumed from:\n{line(str(error))}\n"
            "Use existing=restart to train anew."
        ) from error
