"""From runs to tables: only numbers of one protocol on one data set stand in one table.

Runs are put together by everything but their seed, or by the keys that were asked for. A protocol
is all that a number depends on beside the model; what held-out real data get under it is no part.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from src.config.composition import flatten
from src.errors import SettingError
from src.report import metrics, verdict
from src.report.comparison import Cell, Column, Comparison, Curve, Group, LeftOut, RunEntry, Table
from src.report.naming import ABSENT, choices, differing, get_values, model_name, names
from src.report.read import Record
from src.runs.records import beside

# Of a protocol: no part of how a model was measured.
MEASURED = ("real", "input", "baselines", "labels")
COSTS = (
    Column("samples", "samples", "", None, "Samples seen in training, the clock of all runs"),
    Column("seconds", "time", "s", True, "Seconds of training; scoring does not count"),
    Column("parameters", "parameters", "", None, "Weights of all networks together"),
    Column("peak_memory", "memory", "bytes", True, "Most memory of the GPU, or of the process"),
    Column("images_per_second", "samples/s", "1/s", False, "Samples seen per second of training"),
)


class Scored(NamedTuple):
    """A number of a run, by its full name, and what it depends on."""

    record: Record
    metric: str
    protocol: Mapping[str, Any]

    @property
    def bare(self) -> str:
        """`fid` of `fid10k_mnist`."""
        return str(self.protocol.get("metric", self.metric))

    @property
    def value(self) -> float:
        return _number(self.record, self.metric)

    @property
    def data(self) -> Mapping[str, Any]:
        """The data that it was measured on: a translation back has other samples than the run."""
        return self.protocol.get("data_id") or _data(self.record)

    @property
    def lower_is_better(self) -> bool | None:
        return metrics.lower_is_better(self.bare, self.protocol)


def compare(
    records: Sequence[Record],
    left_out: Sequence[LeftOut],
    by: Sequence[str] = (),
    metric: str | None = None,
) -> Comparison:
    """Tables of all runs, a verdict for each, and who is left out.

    Args:
        records: finished runs.
        left_out: runs that are not.
        by: settings that name a group, see `naming.get_values`; empty: all but the seed.
        metric: `fid`, `fid10k` or `fid10k_mnist`; None takes each data set's headline number.

    Raises:
        SettingError: if no run has the metric, it does not rank, or a key of `by` is unknown.
    """
    scored, unscored = _scored(records, metric)
    left_out = [*left_out, *unscored]
    if not scored and records:
        known = sorted({name for record in records for name in _protocols(record)})
        asked = f"metric={metric}: no finished run has it." if metric else "No run has scores."
        raise SettingError(f"{asked}\nThey have: {', '.join(known) or 'none'}")
    tables: dict[str, list[Scored]] = defaultdict(list)
    for entry in scored:
        tables[_fingerprint(entry)].append(entry)
    also = _drop_parts(tables)
    built = [
        _table(f"t{i + 1}", entries, by, left_out) for i, entries in enumerate(tables.values())
    ]
    first = [entries[0] for entries in tables.values()]
    for table, note in zip((table for table, _ in built), _splits(first), strict=True):
        table.warnings = [*note, *table.warnings]
    for (table, _), counts in zip(built, also.values(), strict=True):
        if counts:
            shown = ", ".join(f"{name} ({n})" for name, n in counts.items())
            note = f"Of some of these runs there are also {shown}: metric=NAME compares those."
            table.warnings.append(note)
    return Comparison(
        title=" and ".join(dict.fromkeys(_data_name(entry.record) for entry in first)),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        by=list(by),
        metric=metric or " and ".join(dict.fromkeys(table.metric for table, _ in built)),
        tables=[table for table, _ in built],
        runs=[run for _, runs in built for run in runs],
        left_out=sorted(left_out, key=lambda entry: entry.folder),
        notes=list(verdict.NOTES),
    )


def _drop_parts(tables: dict[str, list[Scored]]) -> dict[str, Counter[str]]:
    """Take away tables of numbers that only some of another table's runs have.

    Such is what `evaluate` added to one of many runs: a column of the other table.

    Returns:
        For each table that is left, in how many of its runs such numbers are.
    """
    runs = {key: {entry.record.place for entry in own} for key, own in tables.items()}
    also: dict[str, Counter[str]] = {}
    for key, own in list(tables.items()):
        whole = [other for other in tables if runs[key] < runs[other]]
        if not whole:
            also.setdefault(key, Counter())
            continue
        largest = max(whole, key=lambda other: len(runs[other]))
        also.setdefault(largest, Counter())[own[0].metric] += len(runs[key])
        del tables[key]
    return {key: also[key] for key in tables}


def _protocols(record: Record) -> dict[str, Mapping[str, Any]]:
    return record.summary.get("protocols") or {}


def _number(record: Record, name: str) -> float:
    value = (record.summary.get("metrics") or {}).get(name)
    return math.nan if value is None else float(value)


def _data(record: Record) -> Mapping[str, Any]:
    return record.summary.get("data_id") or {}


def _data_name(record: Record) -> str:
    return str(_data(record).get("name", "unknown data"))


def _scored(records: Sequence[Record], metric: str | None) -> tuple[list[Scored], list[LeftOut]]:
    """Each run's numbers that were asked for, and the runs that have none.

    Raises:
        SettingError: if the number does not rank.
    """
    scored, left_out = [], []
    for data in dict.fromkeys(map(_data_name, records)):
        of_data = [record for record in records if _data_name(record) == data]
        wanted = metric or _headline(of_data)
        for record in of_data:
            found = [
                Scored(record, name, protocol)
                for name, protocol in _protocols(record).items()
                if wanted is not None and metrics.is_meant(wanted, name, protocol)
            ]
            scored += [entry for entry in found if math.isfinite(entry.value)]
            if not found:
                has = ", ".join(_protocols(record))
                reason = f"has no {wanted or 'score'}, but {has}" if has else "has no scores"
                left_out.append(LeftOut(record.place, "unscored", reason))
            left_out += [
                LeftOut(record.place, "undefined", f"{entry.metric} is not a number")
                for entry in found
                if not math.isfinite(entry.value)
            ]
    unranked = [entry for entry in scored if entry.lower_is_better is None]
    if unranked and len(unranked) == len(scored):
        raise SettingError(
            f"metric={metric or unranked[0].bare} does not rank: less is neither better nor worse."
            f"\nOf these runs' numbers do: {', '.join(_ranked(records))}."
        )
    left_out += [
        LeftOut(entry.record.place, "unscored", f"{entry.metric} does not rank")
        for entry in unranked
    ]
    return [entry for entry in scored if entry.lower_is_better is not None], left_out


def _ranked(records: Sequence[Record]) -> list[str]:
    """The bare names of all numbers of these runs that rank."""
    entries = [Scored(r, name, p) for r in records for name, p in _protocols(r).items()]
    return sorted({entry.bare for entry in entries if entry.lower_is_better is not None})


def _headline(records: Sequence[Record]) -> str | None:
    """Bare name of the headline number of the runs on one data set.

    The first that most of them have: what one run alone brings does not decide over the others.
    """
    have = Counter(
        name
        for record in records
        for name in {str(p.get("metric", name)) for name, p in _protocols(record).items()}
    )
    known = [name for name in metrics.HEADLINES if name in have]
    usual = [name for name in known if 2 * have[name] > len(records)]
    return next(iter(usual or sorted(known, key=lambda name: -have[name])), None)


def _fingerprint(entry: Scored) -> str:
    """Protocol that the numbers of one table share.

    Conditional models are asked for labels and others are not; their samples are scored alike.
    """
    protocol = {k: value for k, value in entry.protocol.items() if k not in MEASURED}
    return json.dumps([entry.metric, _data(entry.record), protocol], sort_keys=True)


def _splits(first: Sequence[Scored]) -> list[list[str]]:
    """For each table, why it is not one with the others of its data and metric."""
    notes: list[list[str]] = [[] for _ in first]
    flat = [flatten({"data_id": _data(e.record)} | dict(e.protocol)) for e in first]
    for i, entry in enumerate(first):
        for j, other in enumerate(first[:i]):
            same_data = _data_name(entry.record) == _data_name(other.record)
            if not same_data or entry.bare != other.bare:
                continue
            keys = [key for key in differing([flat[j], flat[i]]) if key not in MEASURED]
            how = "; ".join(
                f"{key} {flat[j].get(key, ABSENT)} there, {flat[i].get(key, ABSENT)} here"
                for key in keys[:3]
            )
            note = f"Not in one table with table {j + 1}: other data or another protocol ({how})."
            notes[i].append(note)
    return notes


def _table(
    table: str, entries: Sequence[Scored], by: Sequence[str], left_out: list[LeftOut]
) -> tuple[Table, list[RunEntry]]:
    """One table and its runs; runs that are there twice are added to `left_out`."""
    entries = _without_repeats(entries, left_out)
    records, main = [entry.record for entry in entries], entries[0]
    members = _members(records, by)
    columns = _columns(main, records)
    ids = {id(record): f"{table}r{i + 1}" for i, record in enumerate(records)}
    groups = []
    settings = [{"model": model_name(r)} | r.variant for r in records]
    flat = {id(record): own for record, own in zip(records, settings, strict=True)}
    varied = differing(settings)
    for name, own in members.items():
        shared = {
            key: flat[id(own[0])].get(key, ABSENT)
            if len({json.dumps(flat[id(record)].get(key, ABSENT)) for record in own}) == 1
            else "several"
            for key in varied
        }
        cells = {column.key: cell for column in columns if (cell := _cell(column, own))}
        groups.append(Group("", name, [ids[id(r)] for r in own], cells, "", shared))
    sign = 1 if main.lower_is_better else -1
    groups.sort(key=lambda group: sign * group.values[main.metric].mean)
    for i, group in enumerate(groups):
        group.id = f"{table}g{i + 1}"
    log = metrics.on_log_scale(main.bare)
    samples = [_by_seed(main.metric, members[group.name]) for group in groups]
    judged = verdict.judge(groups, samples, log, metrics.label(main.bare))
    runs = [
        _report_run(
            entry, ids, groups, table, {key: flat[id(entry.record)].get(key) for key in varied}
        )
        for entry in entries
    ]
    # One run's value is not that of all.
    reals = [entry.protocol.get("real") for entry in entries]
    agreed = all(
        isinstance(real, float | int) and math.isclose(real, reals[0], rel_tol=0.01)
        for real in reals
    )
    built = Table(
        id=table,
        data=describe(main.data),
        metric=main.metric,
        lower_is_better=bool(main.lower_is_better),
        real=reals[0] if agreed and math.isfinite(reals[0]) else None,
        protocol=dict(main.protocol),
        columns=columns,
        groups=groups,
        verdict=judged,
    )
    built.warnings = verdict.warnings(built, runs, log, left_out)
    return built, runs


def _without_repeats(entries: Sequence[Scored], left_out: list[LeftOut]) -> list[Scored]:
    """Keep one run of each settings and seed: a copy would pass for agreement."""
    seen: dict[str, Scored] = {}

    def place(entry: Scored) -> tuple[int, int, str]:  # a copy's name says more, if it is not equal
        return entry.record.seed, len(entry.record.place), entry.record.place

    for entry in sorted(entries, key=place):
        key = json.dumps([entry.record.variant, entry.record.seed], sort_keys=True)
        if key in seen:
            reason = f"same settings and seed as {seen[key].record.place}"
            if entry.value != seen[key].value:
                reason += f", which has {seen[key].value:.4g} and not {entry.value:.4g}"
            left_out.append(LeftOut(entry.record.place, "repeated", reason))
        else:
            seen[key] = entry
    return list(seen.values())


def _by_seed(metric: str, records: Sequence[Record]) -> list[float]:
    """One number for each seed: runs that share theirs, such as a run and the same one trained on
    for longer, are no independent evidence."""
    seeds: dict[int, list[float]] = defaultdict(list)
    for record in records:
        seeds[record.seed].append(_number(record, metric))
    return [float(np.mean(values)) for values in seeds.values()]


def _members(records: Sequence[Record], by: Sequence[str]) -> dict[str, list[Record]]:
    """The runs of each group, by its name."""
    members: dict[str, list[Record]] = defaultdict(list)
    if by:
        values = [get_values(key, records) for key in by]
        for record, *own in zip(records, *values, strict=True):
            members[" ".join(own)].append(record)
        return members
    for record in records:
        members[json.dumps(record.variant, sort_keys=True)].append(record)
    short = names([own[0] for own in members.values()])
    return dict(zip(short, members.values(), strict=True))


def _columns(main: Scored, records: Sequence[Record]) -> list[Column]:
    """The main metric, what stands beside it, the cost, and all else.

    A number is a column if it was measured alike in all runs that have it.
    """
    columns = []
    for name in dict.fromkeys([main.metric, *(n for r in records for n in _protocols(r))]):
        own = [Scored(r, name, _protocols(r)[name]) for r in records if name in _protocols(r)]
        if len(set(map(_fingerprint, own))) > 1:
            continue
        label = metrics.label(own[0].bare)
        if any(column.label == label for column in columns):  # of another extractor, say
            label = name
        near = beside(own[0].protocol)
        title = f"{name}; {near}" if near else name
        columns.append(Column(name, label, "", own[0].lower_is_better, title))
    main_column, *others = columns

    def place(column: Column) -> int:
        if column.lower_is_better is None:
            return len(metrics.BESIDE)
        named = (i for i, name in enumerate(metrics.BESIDE) if metrics.begins(column.key, name))
        return next(named, len(metrics.BESIDE))

    def order(column: Column) -> tuple[int, int]:
        return -sum(column.key in _protocols(record) for record in records), place(column)

    ranked = sorted((c for c in others if place(c) < len(metrics.BESIDE)), key=order)
    nearest = ranked[: metrics.MOST_BESIDE]
    return [main_column, *nearest, *COSTS, *(c for c in others if c not in nearest)]


def _cost(record: Record) -> dict[str, float]:
    """The cost columns of a run, as far as they are known."""
    summary = record.summary
    parameters = summary.get("parameters")
    known = {
        "samples": summary.get("samples_seen"),
        "seconds": summary.get("seconds"),
        "parameters": sum(parameters.values()) if parameters else None,
        "peak_memory": summary.get("peak_memory"),
    }
    if known["samples"] and known["seconds"]:
        known["images_per_second"] = known["samples"] / known["seconds"]
    return {key: value for key, value in known.items() if value is not None}


def _cell(column: Column, records: Sequence[Record]) -> Cell | None:
    costs = {cost.key for cost in COSTS}
    values = [
        _cost(record).get(column.key, math.nan)
        if column.key in costs
        else _number(record, column.key)
        for record in records
    ]
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    best = max(values) if column.lower_is_better is False else min(values)
    return Cell(float(np.mean(values)), sd, len(values), best, values)


def _report_run(
    entry: Scored,
    ids: Mapping[int, str],
    groups: Iterable[Group],
    table: str,
    config: dict[str, Any],
) -> RunEntry:
    record, own = entry.record, ids[id(entry.record)]
    summary = record.summary
    return RunEntry(
        id=own,
        table=table,
        group=next(group.id for group in groups if own in group.runs),
        seed=record.seed,
        folder=record.place,
        status=str(summary.get("status")),
        metrics={n: v for n in _protocols(record) if math.isfinite(v := _number(record, n))},
        cost=_cost(record),
        provenance={
            **{key: summary.get(key) for key in ("git", "versions", "device", "precision")},
            "data_id": _data(record),
            "protocols": _protocols(record),
            "choices": choices(record),
        },
        config={"seed": record.seed} | config,
        curve=_curve(entry),
    )


def _curve(entry: Scored) -> Curve:
    """The scorings of a run; seconds are read off its clock."""
    summary, curve = entry.record.summary, Curve()
    samples, seconds = map(list, entry.record.clock)
    if summary.get("samples_seen") and summary.get("seconds"):
        samples, seconds = [*samples, summary["samples_seen"]], [*seconds, summary["seconds"]]
    better = min if entry.lower_is_better else max
    for row in summary.get("scores") or []:
        value = float(row.get(entry.metric, math.nan))
        if not math.isfinite(value):
            continue
        curve.samples.append(row["samples_seen"])
        curve.value.append(value)
        curve.best.append(better([value, *curve.best[-1:]]))
    if samples:
        at = np.interp(curve.samples, [0, *samples], [0, *seconds])
        curve.seconds = [round(float(second), 3) for second in at]
    return curve


def describe(data: Mapping[str, Any]) -> str:
    """A data set in a few words: "mnist (real), 1 x 28 x 28, 60,000 train, hash 11de40"."""
    name, source = data.get("name", "unknown data"), data.get("source")
    parts = [f"{name} ({source})" if source else str(name)]
    if shape := data.get("shape"):
        parts.append(" x ".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers")
    if splits := data.get("splits"):
        parts.append(" + ".join(f"{size:,} {split}" for split, size in splits.items()))
    if degraded := data.get("degradation"):
        numbers = [f"{k}={v}" for k, v in degraded.items() if isinstance(v, str | int | float)]
        parts.append(" ".join(numbers).removeprefix("name="))
    parts += [f"{key} {data[key]}" for key in ("stand_in", "sources", "direction") if key in data]
    if data.get("hash"):
        parts.append(f"hash {str(data['hash'])[:6]}")
    return ", ".join(parts)
