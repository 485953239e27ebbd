"""A table of runs: how far each is, read from its folder.

So it works while they run, after a crash, and from another machine that sees the folders.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config.durations import format_duration
from src.runs import escape
from src.runs.run import Run

RECORDS = ".sweeps"  # below hydra.sweep.dir: what a sweep knows of its runs
MOST_SCORES = 8  # columns
SILENCE = 120.0  # seconds without news after which a run may hang; scoring can take long too


@dataclass
class Row:
    """One line of the table.

    Attributes:
        name: name of the run: its folder below the outputs, or its overrides if it has none.
        state: running, waiting, finished, failed, interrupted, or what a sweep knows better.
        seen: samples.
        budget: samples to come to.
        seconds: seconds of training.
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
    """Aligned columns, those that hold nothing left out; names and notes on one line each.

    Of the scores, those that most runs have.
    """
    have = Counter(name for row in rows for name in row.scores or {})
    usual = {name for name, _ in have.most_common(MOST_SCORES)}
    scores = [name for name in have if name in usual]
    head = [
        "run",
        "state",
        "samples",
        "time",
        "left",
        *(escape.line(name, 40) for name in scores),
        "",
    ]
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
    if others := len(have) - len(scores):
        lines.append(f"(and {others:,} other number{'s' * (others > 1)})")
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


def count_states(found: Iterable[Any]) -> str:
    """`3 running, 2 finished`."""
    counts: dict[str, int] = {}
    for row in found:
        counts[row.state] = counts.get(row.state, 0) + 1
    return ", ".join(f"{n} {state}" for state, n in counts.items())
