"""The public Python interface: what `import src` gives.

    run = src.load_run("outputs/mnist/dcgan/default/seed=0")
    images = run.sample(16, seed=0)
    run = src.fit("model=dcgan", "data=mnist", budget=20_000)
    table = src.compare_runs("outputs/mnist")

What goes wrong is a `SettingError` with the text of the command line. torch is imported when a
model is needed, and not before.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.cli import name_run_folders
from src.compare import read
from src.config.checks import check
from src.config.composition import compose
from src.data.sources import resolve_source
from src.errors import SettingError
from src.report import write
from src.report.build import compare
from src.report.comparison import Comparison
from src.runs.metrics_file import read_metrics
from src.runs.run import Run
from src.training.fit import train

if TYPE_CHECKING:
    import pandas
    import torch

    from src.models.base import GenerativeModel


class TrainedRun:
    """A run folder, read when something is asked for.

    Args:
        folder: what `fit` or `python -m src.train` made.
        plugins: names of the packages whose classes it may name.

    Raises:
        SettingError: if it is no run folder, or damaged; by each attribute too.
    """

    def __init__(self, folder: str | Path, plugins: Sequence[str] = ()) -> None:
        self._run = Run(Path(folder).expanduser(), plugins)
        self.config = self._run.settings

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._run.folder

    @property
    def summary(self) -> dict[str, Any]:
        """Status, scores with protocols, cost, versions, data: the content of summary.json."""
        return self._run.summary

    @property
    def scores(self) -> dict[str, float]:
        """The numbers by their full names, such as `fid10k_mnist`; empty before the first."""
        return dict(self.summary.get("metrics") or {})

    @property
    def metrics(self) -> "pandas.DataFrame":
        """The curves: a row per logging time, by `samples_seen`; a number that was not logged then
        is NaN."""
        import pandas

        path = self.folder / "metrics.csv"
        rows = read_metrics(path) if path.exists() else []
        frame = pandas.DataFrame(rows, columns=None if rows else ["samples_seen"])
        return frame.set_index("samples_seen")

    @cached_property
    def model(self) -> "GenerativeModel":
        """The trained model, a LightningModule, in evaluation mode on the CPU."""
        from src.training.trained import load_model

        return load_model(self._run)

    def sample(
        self, n: int, seed: int | None = 0, labels: "Sequence[int | str] | int | str | None" = None
    ) -> "torch.Tensor":
        """Draw samples.

        Args:
            n: how many.
            seed: of the noise; None draws others each time.
            labels: one class, by index or name, or one for each sample; None takes the classes of a
                conditional model in turn.

        Returns:
            Images float (n, c, h, w) in [-1, 1], voxels (n, 1, d, h, w) in [0, 1] or points (n, d).

        Raises:
            SettingError: if the model draws nothing, or knows no such class.
        """
        import torch

        from src.data.spec import class_index
        from src.models.base import LatentVariableModel

        model = self.model
        if not isinstance(model, LatentVariableModel):
            raise SettingError(f"run={self.folder} draws nothing: its model translates images.")
        if n <= 0:
            raise SettingError(f"n={n} must be positive: samples to draw.")
        if labels is not None:
            if not model.conditional:
                raise SettingError(f"labels: the model of {self.folder} knows no classes.")
            one = isinstance(labels, int | str)
            given = [labels] * n if one else [x if isinstance(x, str) else int(x) for x in labels]
            if len(given) != n:
                raise SettingError(f"labels: {len(given)} are given for n={n} samples.")
            labels = torch.tensor([class_index(label, model.spec.classes) for label in given])
        return model.sample(n, labels, seed)

    def __repr__(self) -> str:
        return f"TrainedRun({str(self.folder)!r}, {self._run.status})"


class RunTable:
    """A comparison of runs: a table in a notebook and in the terminal.

    Attributes:
        comparison: tables of groups with their verdicts, as `compare` writes to its JSON.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def to_frame(self) -> "pandas.DataFrame":
        """One row per group and table: its name, number of runs, and the mean and standard
        deviation (`<number>_sd`) over these of each number."""
        import pandas

        rows = []
        for table in self.comparison.tables:
            for group in table.groups:
                row = {"data": table.data, "metric": table.metric, "name": group.name}
                row["runs"] = len(group.runs)
                for key, cell in group.values.items():
                    row |= {key: cell.mean, f"{key}_sd": cell.sd}
                rows.append(row)
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        return write.text(self.comparison, colour=False)

    def _repr_markdown_(self) -> str:
        """Markdown for a notebook; names are escaped."""
        return write.markdown(self.comparison)


def load_run(folder: str | Path, plugins: Sequence[str] = ()) -> TrainedRun:
    """The run of a folder; nothing of its model is read yet.

    Args:
        folder: what `fit` or `python -m src.train` made.
        plugins: names of the packages that it was trained with, if you trust their code.

    Raises:
        SettingError: if it is no run folder, or needs other plug-ins.
    """
    return TrainedRun(folder, plugins)


def fit(*overrides: str, folder: str | Path | None = None, **settings: Any) -> TrainedRun:
    """Train, as `python -m src.train` does, in this process.

    The same call returns a finished run, and goes on with an interrupted one.

    Args:
        overrides: words of the command line: `"model=dcgan"`, `"model.batch_size=64"`.
        folder: run folder; None takes the command's.
        settings: the same as arguments: `budget=20_000`; None is null.

    Raises:
        SettingError: if a setting cannot work, or the training became useless (`TrainingError`).
    """
    words = [*overrides, *(f"{key}={_spell(value)}" for key, value in settings.items())]
    name_run_folders()
    config = compose("train", words)
    check(config)
    resolve_source(config)
    place = Path(config.hydra.run.dir if folder is None else folder)
    train(config, place)
    return TrainedRun(place, config.plugins)


def compare_runs(
    *places: str | Path,
    by: str | Sequence[str] = (),
    metric: str | None = None,
    plugins: Sequence[str] = (),
) -> RunTable:
    """Compare the finished runs below folders, as `python -m src.compare` does.

    Args:
        places: folders, or `wandb:ENTITY/PROJECT`.
        by: settings that name a group; none: all but the seed.
        metric: `fid`, or `fid10k_mnist`; None takes each data set's headline number.
        plugins: names of the packages that they were trained with; without them such runs are left
            out.

    Raises:
        SettingError: if there is nothing to compare.
    """
    records, left_out = read([str(place) for place in places], plugins)
    return RunTable(compare(records, left_out, [by] if isinstance(by, str) else by, metric))


def _spell(value: Any) -> str:
    """A value in Hydra's language."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_spell(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_spell, value)) + "]"
    if isinstance(value, str):
        # A backslash is one, but before a quote or at the end.
        inner = re.sub(r"(\\*)'", r"\1\1\\'", value)
        return "'" + re.sub(r"(\\+)$", r"\1\1", inner) + "'"
    return json.dumps(value)
