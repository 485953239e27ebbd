"""metrics.csv: one row per value of the clock, one column per metric."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from src.errors import SettingError
from src.runs.escape import line
from src.runs.files import write_atomically
from src.runs.stored import is_count, is_name, read_text

CLOCK = "samples_seen"
MOST_CURVES = 32 * 2**20  # bytes of a metrics.csv
MOST_ROWS = 200_000  # which a run has some hundreds of
MOST_COLUMNS = 1000  # and fewer than a hundred
MOST_CELLS = 2_000_000


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, in order, without their empty cells.

    A last line without its end, which is being written or was when the process was killed, is left
    out.

    Raises:
        SettingError: if it is damaged.
    """
    try:
        header, cells = split(read_text(path, MOST_CURVES))
        rows = [{n: _number(n, c) for n, c in zip(header, row, strict=False) if c} for row in cells]
        if not all(CLOCK in row for row in rows):
            raise ValueError(f"a row has no {CLOCK}")
        return rows
    except (OSError, ValueError, csv.Error) as error:
        raise SettingError(f"{path} is damaged: {line(str(error))}.") from error


def split(text: str) -> tuple[list[str], Iterator[list[str]]]:
    """The names of the columns, and the rows that are whole, of a text of bounded extent.

    Raises:
        ValueError: if it has more, or names that are none.
        csv.Error: if it is none.
    """
    end = text.rfind("\n") + 1
    if text.count("\n") > MOST_ROWS:
        raise ValueError(f"it has more than {MOST_ROWS:,} rows")
    if text.count(",") + text.count("\n") > MOST_CELLS:
        raise ValueError(f"it has more than {MOST_CELLS:,} cells")
    rows = csv.reader(io.StringIO(text[:end]))
    header = next(rows, [])
    if len(header) > MOST_COLUMNS:
        raise ValueError(f"it has more than {MOST_COLUMNS:,} columns")
    if wrong := [name for name in header if not is_name(name)]:
        raise ValueError(f"a column cannot be called {line(wrong[0], 60)!r}")
    return header, rows


def _number(name: str, cell: str) -> float:
    if name != CLOCK:
        return float(cell)
    count = int(cell)
    if not is_count(count):
        raise ValueError(f"{CLOCK} is {line(cell, 30)}")
    return count


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
    """Columns in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def table(rows: Sequence[Mapping[str, float]]) -> str:
    names = columns(rows)
    return lines([names, *([row.get(name, "") for name in names] for row in rows)])


def lines(rows: Sequence[Sequence[float | str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
