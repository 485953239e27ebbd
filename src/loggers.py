"""Where metrics go: always a CSV file in the run folder, and Weights & Biases if it is wanted.

Both are on the samples-seen clock. Weights & Biases is one sink among others: nothing waits long
for its server, asks for a key, or reads a result back from it.
"""

import base64
import csv
import http.client
import io
import json
import os
import re
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import loggers
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from src.errors import SettingError
from src.escape import line
from src.runs import MOST_CURVES, unwritable, write_atomically
from src.stored import read_text

CLOCK = "samples_seen"
MOST_ROWS = 200_000  # of a metrics.csv, which a run has some hundreds of

# Without it wandb looks up a server even offline; it reads this when it is first used.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

Mode = Literal["auto", "online", "offline", "disabled"]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, in order, without their empty cells.

    A last line without its end, which is being written or was when the process was killed, is left
    out.

    Raises:
        SettingError: if it is damaged.
    """
    try:
        text = read_text(path, MOST_CURVES)
        if text.count("\n") > MOST_ROWS:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows")
        whole = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
        header = next(whole, [])
        rows = [{n: cell for n, cell in zip(header, row, strict=False) if cell} for row in whole]
        if not all(CLOCK in row for row in rows):
            raise ValueError(f"a row has no {CLOCK}")
        return [{n: (int if n == CLOCK else float)(c) for n, c in row.items()} for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise SettingError(f"{path} is damaged: {line(str(error))}.") from error


def cut_back(path: Path, samples_seen: int) -> None:
    """Bring a metrics.csv back to what it was at `samples_seen`, for a resume from there.

    Rows past that clock go, and with them the columns that only they had.
    """
    path = Path(path)
    if path.exists():
        rows = [row for row in read_metrics(path) if row[CLOCK] <= samples_seen]
        if rows:
            write_atomically(path, _table(rows))
        else:
            path.unlink()


def _columns(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """In the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: Sequence[Mapping[str, float]]) -> str:
    columns = _columns(rows)
    return _lines([columns, *([row.get(name, "") for name in columns] for row in rows)])


def _lines(rows: Sequence[Sequence[float | str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


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
            self._columns = _columns(self._rows)
        row = {CLOCK: step} | {name: float(value) for name, value in metrics.items()}
        merge = bool(self._rows) and self._rows[-1][CLOCK] == step
        if merge:
            self._rows[-1].update(row)
        else:
            self._rows.append(row)
        if merge or not row.keys() <= set(self._columns):
            self._columns = _columns(self._rows)
            write_atomically(self.path, _table(self._rows))
            return
        try:
            with self.path.open("a") as file:
                file.write(_lines([[row.get(name, "") for name in self._columns]]))
        except OSError as error:
            raise unwritable(self.path, error) from error


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
        group: what the runs of a sweep share.
        name: of this run.
        tags: free words.
        config: the settings, as plain values.
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
    ) -> None:
        super().__init__(
            name=name,
            save_dir=folder,
            project=project,
            id=run_id(Path(folder)),
            group=group,
            tags=list(tags),
            config=dict(config or {}),
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
        """Log metrics, or pictures, at the clock `step`."""
        self.experiment.log({**metrics, CLOCK: step}, step=step)

    @rank_zero_only
    def log_summary(self, summary: Mapping[str, Any]) -> None:
        """Write final numbers, protocols and the like into the run's summary."""
        self.experiment.summary.update(dict(summary))

    @rank_zero_only
    def finish(self, failed: bool = False) -> None:
        """Close the run; belongs in a `finally`."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))


def run_id(folder: Path) -> str:
    """The W&B id of a run folder; drawn and written down at the first call."""
    path = folder / "wandb" / "id"
    if not path.exists():
        write_atomically(path, uuid.uuid4().hex[:12])
    return read_id(path)


def read_id(path: Path) -> str:
    """The W&B id in a file, which becomes a part of the names of W&B's own files.

    Raises:
        SettingError: if it is no such id.
    """
    try:
        text = read_text(path, 100)
        if re.fullmatch(r"[\w-]{1,64}", text, re.ASCII):
            return text
        reason = f"{line(text, 40)} is no id"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise SettingError(f"{path} is damaged: {reason}.\nRemove it, for a new W&B run.")


def wandb_mode(mode: Mode, patience: float = 3.0) -> Literal["online", "offline", "disabled"]:
    """What W&B can be here. Never asks, and never waits much longer than `patience`.

    Args:
        mode: `auto` goes online if a key is configured (environment, netrc or settings) and the
            server takes it; else it says in one line why the run is kept offline. W&B's own
            `WANDB_MODE` and `wandb offline` decide first.
        patience: seconds for the server to answer.

    Raises:
        SettingError: for `online`, if there is no key, or no server that takes it.
    """
    if mode in ("offline", "disabled"):
        return mode
    import wandb

    chosen = wandb.setup().settings.mode
    if mode == "auto" and chosen in ("offline", "dryrun", "disabled"):
        return "disabled" if chosen == "disabled" else "offline"
    obstacle = _obstacle(patience)
    if obstacle is None:
        return "online"
    if mode == "online":
        raise SettingError(
            f"wandb.mode=online: {obstacle}.\nUse wandb.mode=auto, or offline and wandb sync later."
        )
    print(f"W&B offline: {obstacle}. To upload later: wandb sync RUN/wandb/offline-run-*")
    return "offline"


def _obstacle(patience: float) -> str | None:
    """Why W&B cannot be online, or None.

    `wandb.init` itself, with a key and no network, tries for 100 s; `wandb.login` asks the server.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    settings = wandb.setup().settings
    try:
        auth = wbauth.authenticate_session(
            host=settings.base_url, source="sparring", prompt=False, update_session=False
        )
    except wandb.errors.AuthenticationError as error:
        return f"the key cannot be used ({str(error).rstrip('.')})"
    if auth is None:
        return "no key is configured (wandb login)"
    answers: list[str | None] = []
    # A thread, since a look-up of the host's name cannot be given a time limit.
    asking = threading.Thread(
        target=lambda: answers.append(
            _ask(settings.base_url, getattr(auth, "api_key", None), patience)
        ),
        daemon=True,
    )
    asking.start()
    asking.join(patience)
    return answers[0] if answers else f"{settings.base_url} does not answer"


def _ask(server: str, key: str | None, patience: float) -> str | None:
    """Ask the server who we are; None if it knows."""
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}"
    query = json.dumps({"query": "query { viewer { id } }"}).encode()
    request = urllib.request.Request(f"{server}/graphql", query, headers)
    try:
        with urllib.request.urlopen(request, timeout=patience) as response:
            viewer = json.load(response).get("data", {}).get("viewer")
    except urllib.error.HTTPError as error:
        refused = error.code in (401, 403)
        return f"{server} refuses the key" if refused else f"{server} answers error {error.code}"
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: not W&B, if no JSON
        return f"{server} does not answer"
    return None if viewer or not key else f"{server} does not know the key"
