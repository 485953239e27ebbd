"""Train one model on one data set: `python -m src.train model=dcgan data=celeba`.

The same command again returns the summary of a finished run, or goes on with an interrupted one.
"""

import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src import runs
from src.checks import check
from src.command import launch
from src.config import choices_of, plain
from src.errors import SettingError
from src.escape import line
from src.processes import train_on_ranks
from src.stored import expect, is_amount


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
    with closing(runs.Run(folder)) as run:
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


def work(settings: dict[str, Any], choices: dict[str, str], run: runs.Run, resume: bool) -> None:
    """Train, score and record, alone or as rank 0 of several; as another rank, help it to train."""
    from src import ranks

    data, model = prepare(settings, run, resume)
    if ranks.rank() > 0:
        follow(settings, run, data, model, resume)
        return
    made_by = {"seed": settings["seed"], "choices": choices} | runs.provenance()
    run.update_summary(status="running", error=None, data_id=data.data_id, **made_by)
    try:
        fit(settings, run, data, model, resume)
    except Exception as error:
        run.update_summary(status="failed", error=str(error).partition("\n")[0])
        raise


def load_data(settings: dict[str, Any], run: runs.Run) -> "DataModule":  # noqa: F821
    """The data of a run; torch is imported here.

    Raises:
        SettingError: if there are none, or not those that the run began with.
    """
    from src.build import build_data

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
    settings: dict[str, Any], run: runs.Run, resume: bool
) -> tuple["DataModule", "GenerativeModel"]:  # noqa: F821
    """Data and model, at the checkpoint if there is one.

    Raises:
        SettingError: if they cannot be built or do not fit the run, which is left as it was.
    """
    from src import ranks
    from src.build import build_model, restore_for_training
    from src.loggers import cut_back

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
    run: runs.Run,
    data: "DataModule",  # noqa: F821
    model: "GenerativeModel",  # noqa: F821
    resume: bool,
) -> None:
    """Train, score and write the summary."""
    from lightning import Callback

    from src import ranks
    from src.build import build_loggers, build_trainer
    from src.callbacks.equilibrium import Equilibrium
    from src.callbacks.quality import Quality
    from src.callbacks.signals import Signals
    from src.callbacks.together import Together
    from src.cost import cost
    from src.instantiate import build
    from src.metrics.scorers import make_scorers

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
    run: runs.Run,
    data: "DataModule",  # noqa: F821
    model: "GenerativeModel",  # noqa: F821
    resume: bool,
) -> None:
    """What a rank above 0 does of `fit`: the training, and nothing beside it."""
    from src.build import build_trainer
    from src.callbacks.together import Together

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


PICTURES = ("final.png", "progress.gif", "curves.png", "neighbours.png", "codes.html", "reals.png")
REPORTED = {"samples_seen": is_amount, "seconds": is_amount, "metrics": dict, "protocols": dict}


def report(run: runs.Run, repeated: bool) -> None:
    """What was reached, where the pictures are, and what to do next.

    Raises:
        SettingError: if the summary of a finished run lacks what belongs there.
    """
    summary = run.summary
    expect(summary, REPORTED, f"{run / 'summary.json'} is damaged")
    place = line(str(run.folder), 400)
    if repeated:
        print(f"{place} is finished; existing=restart trains it anew.")
        if summary.get("git") != (now := runs.git_commit()):
            then = line(str(summary.get("git")))
            print(f"It was trained by the code of commit {then}; this is {now}.")
    print(f"\n{summary['samples_seen']:,} samples in {summary['seconds']:.0f} s of training")
    metrics = summary["metrics"]
    protocols = {k: record for k, record in summary["protocols"].items() if k in metrics}
    width = max(map(len, protocols), default=0)
    for name, record in protocols.items():
        real = record.get("real")
        beside = "" if real is None else f"   (held-out real data: {real:.4g})"
        print(f"  {line(name):<{width}}  {metrics[name]:<8.4g}{beside}")
    shown = [name for name in PICTURES if (run / "samples" / name).is_file()]
    if shown:
        print(f"\nPictures: {place}/samples ({', '.join(shown)})")
    print("\nNext:")
    print(f"  python -m src.sample run={place} n=64 out=grid.png")
    print(f"  python -m src.evaluate run={place}")
    if run.folder.name.startswith("seed="):  # outputs/<data>/<model>/<variant>/seed=<n>
        print(f"  python -m src.compare runs={line(str(run.folder.parents[2]), 400)}")
    print("  the same command with seed=1, or with existing=restart to begin anew")


if __name__ == "__main__":
    launch("train", check, train)
