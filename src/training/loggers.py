"""Loggers: a CSV file in the run folder, and Weights & Biases or TensorBoard if they are wanted.

All are on the samples-seen clock. Weights & Biases is one sink among others: nothing waits long
for its server, asks for a key, or reads a result back from it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import loggers
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from src.config.composition import flatten
from src.errors import SettingError
from src.report.metrics import HIGHER, bare_name
from src.runs.files import unwritable, write_atomically
from src.runs.metrics_file import CLOCK, columns, lines, read_metrics, table
from src.runs.stored import as_name
from src.runs.wandb_access import run_id


@runtime_checkable
class RunLogger(Protocol):
    """A logger that takes the summary of a run and is closed with its result."""

    def log_summary(self, summary: Mapping[str, Any]) -> None: ...

    def finish(self, failed: bool = False) -> None: ...


class CSVMetrics(loggers.Logger):
    """metrics.csv in the run folder: one row per value of the clock, one column per metric.

    A row is appended; only a new column, or more metrics at the clock of the last row, rewrite the
    file.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: list[dict[str, float]] | None = None
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder has the configuration already."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics at the clock `step`, which never runs backwards.

        Raises:
            SettingError: if the disk is full or the file cannot be written.
        """
        if self._rows is None:
            self._rows = read_metrics(self.path) if self.path.exists() else []
            self._columns = columns(self._rows)
        row = {CLOCK: step} | {as_name(name): float(value) for name, value in metrics.items()}
        merge = bool(self._rows) and self._rows[-1][CLOCK] == step
        if merge:
            self._rows[-1].update(row)
        else:
            self._rows.append(row)
        if merge or not row.keys() <= set(self._columns):
            self._columns = columns(self._rows)
            write_atomically(self.path, table(self._rows))
            return
        try:
            with self.path.open("a") as file:
                file.write(lines([[row.get(name, "") for name in self._columns]]))
        except OSError as error:
            raise unwritable(self.path, error) from error


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's logger on our clock, with pictures, in `tensorboard/` of the run folder.

    Args:
        folder: the run folder.
        clock: samples seen where a run goes on: what a killed process wrote later is not shown.
        config: the settings, for the table of hyperparameters that a finished run has.
    """

    def __init__(
        self, folder: str, clock: int = 0, config: Mapping[str, Any] | None = None
    ) -> None:
        purge = {"purge_step": clock + 1} if clock else {}
        try:
            super().__init__(folder, "tensorboard", "", default_hp_metric=False, **purge)
        except ModuleNotFoundError as error:
            raise SettingError(
                "logger=tensorboard: TensorBoard is not installed.\n"
                'Install it: pip install "sparring[tensorboard]"'
            ) from error
        self._config = config or {}

    @rank_zero_only
    def log_image(self, key: str, images: list[str], step: int | None = None) -> None:
        """Log pictures, given by their paths, at the clock `step`."""
        for path in images:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            self.experiment.add_image(key, pixels, step, dataformats="HWC")

    @rank_zero_only
    def log_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the settings and the final numbers, as `final/<name>`, into the table of runs."""
        metrics = {f"final/{name}": value for name, value in summary["metrics"].items()}
        self.log_hyperparams(flatten(self._config), metrics)

    @rank_zero_only
    def finish(self, failed: bool = False) -> None:
        """Close the files; belongs in a `finally`."""
        self.finalize("failed" if failed else "success")


class WandbLogger(loggers.WandbLogger):
    """Lightning's logger on our clock, and always the same W&B run for the same run folder.

    Lightning binds every curve to `trainer/global_step`; here both the axis of the charts and
    W&B's own step are `samples_seen`. So rows that a resumed run repeats, between its checkpoint
    and the moment when it was killed, fall on the ones that are there.

    Offline, each process leaves a folder `wandb/offline-run-<time>-<id>`; `wandb sync` of all of
    them makes one run, since they share the id.

    Args:
        folder: the run folder; the run's id is kept in its `wandb/id`.
        mode: as `wandb_mode` returns it.
        project: the runs' home.
        group: W&B group of the runs of a sweep.
        name: name of this run.
        tags: labels of your own, to filter by.
        config: the settings, as plain values.
        choices: names of the presets and parts that were chosen, by their slots. They are in the
            configuration as `choices.model`, `choices.loss` ..., to group by, and those of model,
            data and experiment among the tags.
        artifact: upload the finished run, as an artifact of type `model`.
    """

    def __init__(
        self,
        folder: str,
        mode: Literal["online", "offline"],
        project: str = "sparring",
        group: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        choices: Mapping[str, str | None] | None = None,
        artifact: bool = False,
    ) -> None:
        chosen = {slot: name for slot, name in (choices or {}).items() if name}
        main = [chosen[slot] for slot in ("model", "data", "experiment") if slot in chosen]
        # `model/loss`, `model/optimizer@model.g_optimizer`: dots and slashes mean levels to W&B.
        named = {re.split(r"[/.]", slot)[-1]: name for slot, name in chosen.items()}
        self._folder, self._artifact, self._defined = Path(folder), artifact, set[str]()
        super().__init__(
            name=name,
            save_dir=folder,
            project=project,
            id=run_id(Path(folder)),
            group=group,
            job_type="train",
            tags=list(dict.fromkeys([*tags, *main])),
            config=dict(config or {}) | ({"choices": named} if named else {}),
            mode=mode,
        )
        del self._wandb_init["anonymous"]  # wandb warns of it, even of None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, opened at the first use."""
        if self._experiment is None:
            import wandb

            settings = wandb.Settings(
                console="off",
                silent=self._wandb_init["mode"] == "offline",  # `wandb_mode` has said it
                quiet=True,
                reinit="finish_previous",  # a sweep has many runs in one process
                finish_timeout=120,  # what a lost connection may cost; it is on the disk too
            )
            self._experiment = wandb.init(**self._wandb_init, settings=settings)
            self._experiment.define_metric(CLOCK)
            self._experiment.define_metric("*", step_metric=CLOCK)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics, or pictures, at the clock `step`.

        Of a score W&B's summary keeps the best, by its direction: `fid.min`, `is.max`.
        """
        for name in metrics.keys() - self._defined:
            self._defined.add(name)
            if (bare := bare_name(name)) is not None:
                best = "max" if bare in HIGHER else "min"
                self.experiment.define_metric(name, step_metric=CLOCK, summary=best)
        self.experiment.log({**metrics, CLOCK: step}, step=step)

    @rank_zero_only
    def log_page(self, key: str, path: Path, step: int) -> None:
        """Log a page (.html) or an animation (.gif) at the clock `step`."""
        import wandb

        if path.suffix == ".html":
            self.log_metrics({key: wandb.Html(path.read_text(), inject=False)}, step)
        else:
            self.log_metrics({key: wandb.Video(str(path), format="gif")}, step)

    @rank_zero_only
    def log_summary(self, summary: Mapping[str, Any]) -> None:
        """Write final numbers, protocols and the like into the run's summary.

        With `artifact`, the run's files that `sample` and `evaluate` need are uploaded too.
        """
        self.experiment.summary.update(dict(summary))
        if self._artifact and summary["status"] == "finished":
            import wandb

            made = wandb.Artifact(f"run-{self.version}", "model", metadata=summary["metrics"])
            for name in ("config.yaml", "summary.json", "checkpoints/last.ckpt"):
                made.add_file(str(self._folder / name), name)
            self.experiment.log_artifact(made)

    @rank_zero_only
    def finish(self, failed: bool = False) -> None:
        """Close the run; belongs in a `finally`."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))
