"""Numbers against a setting: what becomes of MSE, KL and MIG as beta rises, in one picture.

A panel for each number, the setting along each, a line for variants that differ in nothing else. A
point is the mean over seeds, its bar one standard deviation.
"""

import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from src.errors import SettingError
from src.report.comparison import Column, Comparison, Group, Table
from src.report.metrics import begins
from src.runs import escape

MOST_PANELS = 12


def plot(comparison: Comparison, x: str, y: Sequence[str], kind: str) -> bytes:
    """The picture of the first table in which the setting varies, as a file of that kind.

    Args:
        comparison: comparison of runs that differ in the setting.
        x: its name, such as `model.objective.beta`; the last part is enough if it is the only one.
        y: bare names of numbers, such as `mse`, or whole ones; empty takes all that differ.
        kind: .png, .svg or .pdf.

    Raises:
        SettingError: if the setting does not vary, is no number, or a number of `y` is unknown.
    """
    table, key = _varying(comparison, x)
    places = {group.id: _number(group.config[key], x) for group in table.groups}
    lines = _lines(table, key)
    columns = _columns(table, y)
    import matplotlib

    with matplotlib.rc_context({"text.usetex": False}):  # no name may be run by TeX
        return _figure(columns, lines, places, x, kind)


def _varying(comparison: Comparison, x: str) -> tuple[Table, str]:
    varied: dict[str, None] = {}
    for table in comparison.tables:
        keys = dict.fromkeys(key for group in table.groups for key in group.config)
        varied |= keys
        fitting = [key for key in keys if key == x] or [k for k in keys if k.endswith(f".{x}")]
        if len(fitting) == 1:
            return table, fitting[0]
    raise SettingError(
        f"x={x} is not one setting in which these runs differ.\n"
        f"They differ in: {', '.join(varied) or 'nothing but the seed'}."
    )


def _number(value: object, x: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise SettingError(
            f"x={x} is {escape.line(str(value), 60)} in some runs: only numbers have a place along "
            "an axis.\nName the runs that have one by runs=..., and leave by= out."
        )
    return float(value)


def _lines(table: Table, key: str) -> dict[str, list[Group]]:
    """Groups that differ in the setting only, by their common name."""
    lines: dict[str, list[Group]] = defaultdict(list)
    for group in table.groups:
        lines[json.dumps({k: v for k, v in group.config.items() if k != key})].append(group)

    def says(word: str) -> bool:
        setting = word.partition("=")[0]
        return "=" in word and (setting == key or key.endswith(f".{setting}"))

    names = [
        " ".join(word for word in groups[0].name.split() if not says(word))
        for groups in lines.values()
    ]
    full = [groups[0].name for groups in lines.values()]
    found = Counter(names)
    names = [n if found[n] == 1 else whole for n, whole in zip(names, full, strict=True)]
    return dict(zip(names, lines.values(), strict=True))


def _columns(table: Table, y: Sequence[str]) -> list[Column]:
    known = [
        column for column in table.columns if any(column.key in g.values for g in table.groups)
    ]
    if not y:
        differ = [c for c in known if len({g.values[c.key].mean for g in table.groups
                                           if c.key in g.values}) > 1]  # fmt: skip
        if not differ:
            raise SettingError("There is nothing to draw: these runs have the same numbers.")
        return differ[:MOST_PANELS]
    columns = []
    for name in y:
        found = [column for column in known if column.key == name or begins(column.key, name)]
        if not found:
            has = ", ".join(column.key for column in known)
            raise SettingError(f"y={name}: these runs have no such number.\nThey have: {has}.")
        columns.append(found[0])
    return columns


def _figure(
    columns: Sequence[Column],
    lines: dict[str, list[Group]],
    places: dict[str, float],
    x: str,
    kind: str,
) -> bytes:
    from matplotlib.figure import Figure

    wide = min(len(columns), 3)
    high = math.ceil(len(columns) / wide)
    figure = Figure((3.4 * wide, 2.6 * high), dpi=120, layout="constrained")
    panes = list(figure.subplots(high, wide, squeeze=False).flat)
    known = sorted(set(places.values()))
    for pane in panes[len(columns) :]:
        pane.set_visible(False)
    for pane, column in zip(panes, columns, strict=False):
        for name, groups in lines.items():
            shown = sorted(
                (g for g in groups if column.key in g.values), key=lambda g: places[g.id]
            )
            cells = [group.values[column.key] for group in shown]
            pane.errorbar(
                [places[group.id] for group in shown], [cell.mean for cell in cells],
                [cell.sd or 0.0 for cell in cells],
                marker="o", ms=3.5, lw=1.3, capsize=2 if any(cell.sd for cell in cells) else 0,
                label=escape.plot(name),
            )  # fmt: skip
        if known[0] > 0 and known[-1] / known[0] >= 8:
            pane.set_xscale("log")
            pane.minorticks_off()
            pane.set_xticks(known, [f"{value:g}" for value in known])
        pane.set_title(escape.plot(column.label), fontsize=9)
        pane.set_xlabel(escape.plot(x.removeprefix("model.")), fontsize=8)
        pane.tick_params(labelsize=7)
        pane.grid(alpha=0.3)
    if len(lines) > 1:
        figure.legend(*panes[0].get_legend_handles_labels(), loc="outside lower left", fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind.removeprefix("."))
    return buffer.getvalue()
