"""The tables of a comparison as text for the terminal, Markdown, LaTeX, CSV and JSON.

One grid of cells, made once per table, is what the first three print. Names and messages are those
of the runs, which strangers may have written: each format escapes them in its own way.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from src.config.durations import format_duration
from src.report.comparison import Cell, Column, Comparison, Group, Table
from src.runs import escape

BOLD, GREEN, DIM, YELLOW, PLAIN = "\033[1m", "\033[32m", "\033[2m", "\033[33m", "\033[0m"


class Grid(NamedTuple):
    """A table's heading and cells; `best[row][column]` marks what no other group exceeds."""

    head: list[str]
    rows: list[list[str]]
    best: list[list[bool]]


def grid(table: Table, show: Callable[[str], str]) -> Grid:
    """Name, letters, the main number, what stands beside it, and the cost.

    What a table has more is in CSV, JSON and the page.

    Args:
        show: escapes names and headings; numbers need none.
    """
    last = max(i for i, column in enumerate(table.columns) if column.key in _COSTS)
    own, *shown = table.columns[: last + 1]
    head = ["", "", show(own.label), "best", "n", *(show(column.label) for column in shown)]
    digits = {column.key: _digits(table, column) for column in (own, *shown)}
    rows, marks = [], []
    for group in table.groups:
        cell = group.values[table.metric]
        rows.append(
            [
                show(group.name),
                group.letters,
                spread(cell, digits[own.key]),
                number(cell.best),
                str(cell.n),
                *(_spell(c, group.values.get(c.key), digits[c.key]) for c in shown),
            ]
        )
        leads = [_leads(table, column, group) for column in (own, *shown)]
        marks.append([False, False, leads[0], False, False, *leads[1:]])
    return Grid(head, rows, marks)


def _leads(table: Table, column: Column, group: Group) -> bool:
    if column.lower_is_better is None or column.key not in group.values or len(table.groups) < 2:
        return False
    means = [g.values[column.key].mean for g in table.groups if column.key in g.values]
    if len(set(means)) < 2:
        return False
    return group.values[column.key].mean == (min if column.lower_is_better else max)(means)


def number(value: float) -> str:
    """Four digits: 3.457, 12.35, 425.1, 3003."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _digits(table: Table, column: Column) -> int:
    """Decimals of a column: two digits of a low standard deviation, or four of the largest mean.

    It is the lower quartile: a single pair of seeds that agree by chance decides nothing.
    """
    cells = [group.values[column.key] for group in table.groups if column.key in group.values]
    deviations = sorted(c.sd for c in cells if c.sd and math.isfinite(c.sd) and c.sd > 10**-6)
    if deviations:
        return min(max(0, 1 - math.floor(math.log10(deviations[len(deviations) // 4]))), 6)
    sizes = [abs(cell.mean) for cell in cells if cell.mean and math.isfinite(cell.mean)]
    return min(max(0, 3 - math.floor(math.log10(max(sizes, default=1.0)))), 6)


def spread(cell: Cell, digits: int) -> str:
    """Mean and standard deviation with as many decimals as their column has: "12.35 ± 0.41"."""
    have = cell.sd and math.isfinite(cell.sd)
    if not math.isfinite(cell.mean) or abs(cell.mean) >= 10_000:
        return number(cell.mean) + (f" ± {cell.sd:.2g}" if have else "")
    return f"{cell.mean:.{digits}f}" + (f" ± {cell.sd:.{digits}f}" if have else "")


def _count(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


_COSTS: dict[str, Callable[[float], str]] = {
    "samples": _count,
    "seconds": format_duration,
    "parameters": _count,
    "peak_memory": lambda value: f"{value / 2**30:.2g} GiB",
    "images_per_second": _count,
}


def _spell(column: Column, cell: Cell | None, digits: int) -> str:
    if cell is None or not math.isfinite(cell.mean):
        return "-"
    cost = _COSTS.get(column.key)
    return cost(cell.mean) if cost else spread(cell, digits)


def text(comparison: Comparison, colour: bool = False) -> str:
    """For the terminal; what is best is marked by `*`, or by colour."""

    def paint(words: str, code: str) -> str:
        return f"{code}{words}{PLAIN}" if colour and words.strip() else words

    lines = []
    for table in comparison.tables:
        head, rows, best = grid(table, escape.line)
        if not colour:
            marked = [any(column) for column in zip(*best, strict=True)]
            rows = [
                [f"{cell}{'*' if b else ' '}" if m else cell
                 for cell, b, m in zip(row, marks, marked, strict=True)]
                for row, marks in zip(rows, best, strict=True)
            ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        heading = "\n".join(map(_sentence, _heading(comparison, table)))
        lines += [paint(heading, BOLD), "", paint(_line(head, widths), DIM)]
        for row, marks in zip(rows, best, strict=True):
            cells = _line(row, widths, lambda words, i: paint(words, GREEN) if marks[i] else words)  # noqa: B023
            lines.append(cells)
        lines += ["", f"  {_sentence(table.verdict.text)}"]
        lines += [paint(f"  ({_sentence(table.verdict.method)})", DIM)]
        lines += [paint(f"  ! {_sentence(warning)}", YELLOW) for warning in table.warnings]
        lines.append("")
    if comparison.left_out:
        lines.append(paint(f"Left out: {len(comparison.left_out)}", BOLD))
        lines += [
            f"  {escape.line(entry.status):<11} {escape.line(entry.folder)}: "
            f"{_sentence(entry.reason)}"
            for entry in comparison.left_out
        ]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _sentence(words: str) -> str:
    """Sentence that may name several variants, on one line of a terminal."""
    return escape.line(words, 2000)


def _line(
    cells: Sequence[str],
    widths: Sequence[int],
    paint: Callable[[str, int], str] = lambda words, _: words,
) -> str:
    """Names to the left, numbers to the right."""
    return "  " + "  ".join(
        paint(f"{cell:<{width}}" if i < 2 else f"{cell:>{width}}", i)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )


def _heading(comparison: Comparison, table: Table) -> tuple[str, str]:
    """Two lines, to be escaped: the data, and how they were measured."""
    real = "" if table.real is None else f"; held-out real data: {number(table.real)}"
    better = "less" if table.lower_is_better else "more"
    at = f"Table {comparison.tables.index(table) + 1}: " if len(comparison.tables) > 1 else ""
    return f"{at}{table.data}", f"{table.metric}, {better} is better{real}"


def markdown(comparison: Comparison) -> str:
    """Sections with a table each."""
    show = escape.markdown
    lines = [f"# {show(comparison.title)}", ""]
    for table in comparison.tables:
        head, rows, best = grid(table, show)
        lines += ["  \n".join(map(show, _heading(comparison, table))), ""]
        lines += [f"| {' | '.join(head)} |", f"|{'---|' * 2}{'--:|' * (len(head) - 2)}"]
        for row, marks in zip(rows, best, strict=True):
            cells = [f"**{cell}**" if mark else cell for cell, mark in zip(row, marks, strict=True)]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", show(f"{table.verdict.text} ({table.verdict.method}.)"), ""]
        lines += [f"- {show(warning)}" for warning in table.warnings] + [""] * bool(table.warnings)
    if comparison.left_out:
        lines += ["Left out:", ""]
        lines += [
            f"- {show(entry.status)}: {escape.markdown_code(entry.folder)}: {show(entry.reason)}"
            for entry in comparison.left_out
        ]
        lines.append("")
    return "\n".join(lines)


def latex(comparison: Comparison) -> str:
    """Tables for `\\usepackage{booktabs}`; the letters are superscripts of the main number.

    What speaks against the verdict is for the author, in comments.
    """
    lines = ["% needs \\usepackage{booktabs}"]
    for i, table in enumerate(comparison.tables):
        head, rows, best = grid(table, str)
        head = [head[0], *head[2:]]
        caption = ". ".join([*_heading(comparison, table), table.verdict.text])
        lines += [
            *(f"% {escape.latex_comment(warning)}" for warning in table.warnings),
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{escape.latex(caption)}}}",
            f"  \\label{{tab:{_label(i + 1, table)}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"    \toprule",
            f"    {' & '.join(map(escape.latex, head))} \\\\",
            r"    \midrule",
        ]
        for row, marks in zip(rows, best, strict=True):
            cells = [
                f"\\textbf{{{escape.latex(cell)}}}" if mark else escape.latex(cell)
                for cell, mark in zip(row, marks, strict=True)
            ]
            cells[2] += f"\\textsuperscript{{{escape.latex(row[1])}}}" if row[1] else ""
            lines.append(f"    {' & '.join([cells[0], *cells[2:]])} \\\\")
        lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _label(number: int, table: Table) -> str:
    """Name of a table for LaTeX's references, such as `table1-fid10k-mnist`."""
    return re.sub("[^a-z0-9]+", "-", f"table{number} {table.metric}".lower()).strip("-")


def runs_as_csv(comparison: Comparison) -> str:
    """A row per run: its table, group, seed, folder, numbers and cost."""
    rows, numbers = [], {table.id: i + 1 for i, table in enumerate(comparison.tables)}
    names = {group.id: group.name for table in comparison.tables for group in table.groups}
    for run in comparison.runs:
        first = {"table": numbers[run.table], "group": names[run.group], "seed": run.seed}
        first |= {"folder": run.folder}
        rows.append(first | run.metrics | run.cost | first)  # a metric may be called "group"
    return _as_csv(rows)


def comma_separated(comparison: Comparison) -> str:
    """A row per group with all numbers: mean, standard deviation, n and best of each column.

    Numbers of two tables are of different protocols: not to be compared.
    """
    rows = []
    for i, table in enumerate(comparison.tables):
        for group in table.groups:
            first = {
                "table": i + 1,
                "data": table.data,
                "metric": table.metric,
                "group": group.name,
                "letters": group.letters,
            }
            row = dict(first)
            for key, cell in group.values.items():
                row |= {key: cell.mean, f"{key}.sd": cell.sd, f"{key}.n": cell.n}
                row |= {f"{key}.best": cell.best}
            rows.append(row | first)  # a metric may be called "group"
    return _as_csv(rows)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    out, keys = io.StringIO(), list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(out)
    writer.writerow(map(escape.csv_cell, keys))
    writer.writerows([escape.csv_cell(row.get(key, "")) for key in keys] for row in rows)
    return out.getvalue()


def as_json(comparison: Comparison) -> str:
    """All of it, pictures too; numbers that are not finite are null."""
    return json.dumps(escape.plain(comparison), default=str) + "\n"
