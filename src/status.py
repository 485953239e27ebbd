"""Where the runs of a sweep are: `python -m src.status`, and the table of a sweep.

Everything is read from the run folders, so it works while they run, after a crash, and from another
machine that sees them.
"""

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from src import escape
from src.checks import check_status
from src.command import launch
from src.durations import format_duration
from src.errors import SettingError
from src.runs import Run, run_folders
from src.stored import expect, parse_json, read_bytes

RECORDS = ".sweeps"  # below hydra.sweep.dir
ORDER = ("running", "waiting", "failed", "interrupted")  # others, all of which ended well, follow
SILENCE = 120.0  # seconds without a word after which a run may hang; scoring can take long too
SWEEP = {"runs": [{"name": str, "state": str, "note": str}]}


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: of the run: its folder below the outputs, or its words if it has none.
        state: running, waiting, finished, failed, interrupted, or what a sweep knows better.
        seen: samples.
        budget: samples to come to.
        seconds: of training.
        left: seconds to go; None if that is not known.
        scores: the last headline numbers.
        note: a reason, a stage.
    """

    name: str
    state: str
    seen: int | None = None
    budget: int | None = None
    seconds: float | None = None
    left: float | None = None
    scores: Mapping[str, float] | None = None
    note: str = ""


def look(folder: Path, name: str) -> Row:
    """The line of a run folder.

    Raises:
        SettingError: if its files are damaged.
    """
    run = Run(folder)
    summary, progress, running = run.summary, run.progress, run.in_use
    status = "running" if running else summary.get("status", "interrupted")
    scores, note = {}, ""
    if status in ("finished", "failed"):
        metrics = summary.get("metrics") or {}
        scores = {k: metrics[k] for k in summary.get("headline") or () if k in metrics}
        note = summary.get("error") or summary.get("stopped") or ""
    elif not running:
        status = "interrupted"  # also one that was killed before it could say so
    row = Row(
        name,
        status,
        summary.get("samples_seen", progress.get("samples_seen")),
        progress.get("budget"),
        summary.get("seconds", progress.get("seconds")),
        scores=scores,
        note=note,
    )
    if status in ("running", "interrupted") and progress:
        row.seen, row.seconds = progress["samples_seen"], progress["seconds"]
        last = progress["scores"][-1] if progress["scores"] else {}
        row.scores = {k: v for k, v in last.items() if k != "samples_seen"}
        row.note = progress.get("stage") or ""
    if status == "running" and progress:
        if progress["rate"] > 0:
            row.left = (row.budget - row.seen) / progress["rate"]
        silent = time.time() - progress["time"]
        if silent > SILENCE:
            row.note = f"{row.note} silent for {duration(silent)}".strip()
    return row


def table(rows: Sequence[Row]) -> str:
    """Aligned columns, those that hold nothing left out; names and notes on one line each."""
    scores = list(dict.fromkeys(name for row in rows for name in row.scores or {}))
    head = ["run", "state", "samples", "time", "left", *map(escape.line, scores), ""]
    cells = [
        [
            escape.line(row.name),
            escape.line(row.state, 40),
            samples(row),
            duration(row.seconds),
            duration(row.left),
            *(f"{row.scores[name]:.4g}" if name in (row.scores or {}) else "" for name in scores),
            escape.line(row.note),
        ]
        for row in rows
    ]
    columns = [c for c in enumerate(zip(head, *cells, strict=True)) if any(c[1][1:])]
    widths = [max(map(len, column)) for _, column in columns]
    lines = []
    for line in zip(*(column for _, column in columns), strict=True):
        padded = [
            cell.rjust(width) if 2 <= i < len(head) - 1 else cell.ljust(width)
            for cell, width, (i, _) in zip(line, widths, columns, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """Nothing for what is not known, or is infinite, as a damaged file may say."""
    return "" if seconds is None or not math.isfinite(seconds) else format_duration(seconds)


def samples(row: Row) -> str:
    """`1,200,000`, or `12 % of 1,200,000` of a run that has not come to its end."""
    if row.seen is None:
        return ""
    if row.budget and row.state in ("running", "interrupted"):
        return f"{100 * row.seen // row.budget} % of {row.budget:,}"
    return f"{row.seen:,}"


def rows(outputs: Path) -> list[Row]:
    """All runs below a folder, and those of its sweeps that have no folder yet or never will."""
    found: dict[str, Row] = {}
    for folder in run_folders(outputs):
        name = str(folder.relative_to(outputs))
        try:
            found[name] = look(folder, name)
        except (SettingError, OSError) as error:
            found[name] = Row(name, "damaged", note=str(error).partition("\n")[0])
    for record in sorted((outputs / RECORDS).glob("*.json")):
        try:
            sweep = parse_json(read_bytes(record, flags=os.O_NOFOLLOW))
            expect(sweep, SWEEP, record.name)
        except (OSError, ValueError):
            continue  # the folders say most of it
        for entry in sweep["runs"]:
            name = entry["name"]
            row = found.get(name)
            if row is None:  # not begun, or removed since
                if entry["state"] in ("waiting", "running", "failed"):
                    found[name] = Row(name, entry["state"], note=entry["note"])
            elif entry["note"] and not row.note and row.state == "interrupted":
                row.note = entry["note"]
    place = {state: i for i, state in enumerate(ORDER)}
    return sorted(found.values(), key=lambda row: place.get(row.state, len(ORDER)))


def status(config: DictConfig, _: Path) -> None:
    """Print the table of all runs below `runs`, again and again with `watch`.

    Raises:
        SettingError: if there is no such folder.
    """
    outputs = Path(config.runs)
    if not outputs.is_dir():
        raise SettingError(f"runs={outputs}: there is no such folder.")
    while True:
        found = rows(outputs)
        counts = count(found)
        text = f"{table(found)}\n\n{counts}" if found else f"No runs in {outputs} yet."
        if config.watch and sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        print(text, flush=True)
        if not config.watch:
            return
        time.sleep(config.every)


def count(found: Iterable[Any]) -> str:
    """`3 running, 2 finished`."""
    counts: dict[str, int] = {}
    for row in found:
        counts[row.state] = counts.get(row.state, 0) + 1
    return ", ".join(f"{n} {state}" for state, n in counts.items())


if __name__ == "__main__":
    launch("status", check_status, status)
