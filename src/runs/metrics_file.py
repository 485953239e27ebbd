"""metrics.csv: one row per value of the clock, one column per metric."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.errors import SettingError
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.run import MOST_CURVES
from src.runs.stored import read_text

CLOCK = "samples_seen"
MOST_ROWS = 200_000  # of a metrics.csv, which a run has some hundreds of


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
            write_atomically(path, table(rows))
        else:
            path.unlink()


def columns(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """In the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def table(rows: Sequence[Mapping[str, float]]) -> str:
    names = columns(rows)
    return lines([names, *([row.get(name, "") for name in names] for row in rows)])


def lines(rows: Sequence[Sequence[float | str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
