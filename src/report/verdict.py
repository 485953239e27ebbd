"""Verdict on a table: groups that differ by more than noise, and reasons for doubt.

The test is that of `src/report/statistics.py`; its sentences are for readers who know no test.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.report.comparison import Group, LeftOut, Pair, RunEntry, Table, Verdict
from src.report.statistics import ALPHA, LETTERS, Differences, letters

NOTES = (
    "Variants that share a letter cannot be told apart at 5 %; without a common letter their "
    "difference is more than the noise of the training seeds.",
    "Two variants differ if Tukey-Kramer says so, for all pairs at once, and if a test by the "
    "two's own variances agrees: Welch's t, or Games-Howell where Bartlett's test finds that the "
    "variances differ. Distances such as FID are compared by their logarithm.",
    # python -m benchmarks.verdicts
    "Simulated with ten variants of three seeds: a variant that is 2 standard deviations (of one "
    "run) better than the others is told apart from one of them in 13 % of the cases, with 4 in "
    "75 %; with five seeds in 39 % and 97 %. So no verdict is no proof of equality.",
    "Simulated without any difference, ten variants of three seeds: 3 % of the tables show one; "
    "4 to 5 % if standard deviations differ by a factor of 2, and up to 7 % by one of 4.",
    "With two seeds 4 standard deviations are found in 42 % of the cases and 8 in 92 %; 4 to 6 % "
    "of the tables without any difference show one, and up to 11 % by a factor of 4. Train three.",
    "Only numbers of one protocol (metric, samples, extractor, seed of the codes) on the same "
    "data stand in one table. The spread is over training seeds, and holds the metric's own noise; "
    "all runs are scored by samples from the same codes.",
    "Runs that failed or have not ended are listed and not averaged.",
)
MANY = 4  # names that a sentence lists
SEE = ": see the letters"


def judge(
    groups: Sequence[Group], samples: Sequence[Sequence[float]], log: bool, label: str
) -> Verdict:
    """Test all pairs, give the groups their letters, and say it in one to three sentences.

    Args:
        groups: the best mean first; their `letters` are set.
        samples: for each group, a number for each seed.
        log: compare ratios, unless a value is not positive.
        label: the metric's name for readers.
    """
    judged = [i for i, own in enumerate(samples) if len(own) > 1]
    single = [group.name for group, own in zip(groups, samples, strict=True) if len(own) == 1]
    if len(groups) < 2:
        return Verdict("There is only one variant: nothing to compare.", "none: one group", ALPHA)
    if len(judged) < 2:
        text = "With one seed each the order may be noise; train three or more (seed=0,1,2)."
        return Verdict(text, "none: one seed", ALPHA)
    log = log and all(value > 0 for own in samples for value in own)
    found = Differences([np.log(samples[i]) if log else samples[i] for i in judged])
    if np.isnan(found.p).any():
        text = "The seeds of each variant gave the same number: there is no noise to compare with."
        return Verdict(text, "none: no spread", ALPHA)
    given = letters(found.distinct)
    for i, own in zip(judged, given or (), strict=given is not None):
        groups[i].letters = own
    pairs = []
    for a, i in enumerate(judged):
        for b, j in enumerate(judged[:a]):
            middle, margin = found.difference[b, a], found.margin[b, a]
            ends = np.array([middle, middle - margin, middle + margin])
            ratio, low, high = np.exp(np.clip(ends, -700, 700)) if log else ends
            p, distinct = float(found.p[b, a]), bool(found.distinct[b, a])
            ids = (groups[j].id, groups[i].id)
            pairs.append(Pair(*ids, p, float(ratio), float(low), float(high), distinct))
    names = [groups[i].name for i in judged]
    text = _sentences(names, found.distinct, f"{label} {np.mean(samples[judged[0]]):.4g}")
    if given is None:
        text = text.replace(SEE, "") + (
            f" No letters are given, since there would be more than {len(LETTERS)} of them: "
            "look at the pairs (verdict.pairs in comparison.json)."
        )
    if single:
        text = f"Of those with several seeds: {text}"
        text += f" {_listed(single)} {'has' if len(single) == 1 else 'have'} one seed: not judged."
    second = (
        f"Games-Howell (the variances differ: Bartlett p = {found.bartlett:.2g})"
        if found.fallback
        else "Welch's t of each pair"
    )
    return Verdict(
        text, f"Tukey-Kramer and {second}, on {'log ' if log else ''}{label}", ALPHA, pairs
    )


def _sentences(names: Sequence[str], distinct: np.ndarray, value: str) -> str:
    """Best group and those that do not differ from it; the best mean comes first."""
    if not distinct.any():
        return f"No difference is more than noise: {_listed(names)} cannot be told apart at 5 %."
    near = [name for name, other in zip(names[1:], distinct[0, 1:], strict=True) if not other]
    worse = [name for name, other in zip(names[1:], distinct[0, 1:], strict=True) if other]
    if not near:
        return f"{names[0]} ({value}) is better than the others, by more than noise."
    text = f"{names[0]} has the best mean ({value}) but cannot be told apart from {_listed(near)}."
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        return f"{text} {_listed(worse)} {verb} worse, by more than noise."
    return f"{text} Some of the others differ among themselves{SEE}."


def _listed(names: Sequence[str]) -> str:
    if len(names) > MANY + 1:
        return f"{', '.join(names[:MANY])} and {len(names) - MANY} others"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def warnings(
    table: Table, runs: Sequence[RunEntry], log: bool, left_out: Sequence[LeftOut]
) -> list[str]:
    """Warnings for the reader of a table's order."""
    return [
        *_lost(table, runs, left_out),
        *_floor(table),
        *_moving(table, runs, log),
        *_unlike(table, runs),
    ]


def _lost(table: Table, runs: Sequence[RunEntry], left_out: Sequence[LeftOut]) -> list[str]:
    """Variants of which some seeds failed or have no score: those that remain flatter them."""
    failed = [Path(entry.folder) for entry in left_out if entry.status in ("failed", "undefined")]
    found = []
    for group in table.groups:
        homes = {Path(run.folder).parent for run in runs if run.group == group.id}
        lost = [path for path in failed if path.parent in homes and path.name.startswith("seed=")]
        if lost:
            found.append(
                f"{group.name}: {len(lost)} of {len(lost) + len(group.runs)} runs failed, or "
                f"scored no number, and {'is' if len(lost) == 1 else 'are'} not in its mean, which "
                f"flatters it."
            )
    return found


def _floor(table: Table) -> list[str]:
    """Warn if the groups are as good as real data, where the metric cannot rank them."""
    if table.real is None:
        return []
    sign = 1 if table.lower_is_better else -1
    means = [group.values[table.metric].mean for group in table.groups]
    at = [
        group.name
        for group, mean in zip(table.groups, means, strict=True)
        if sign * mean <= sign * table.real
    ]
    if at:
        return [
            f"{_listed(at)} reached what held-out real data get ({table.real:.4g}): "
            f"differences beyond it say nothing about quality."
        ]
    if not table.lower_is_better:
        return []
    spread = max(means) - min(means)
    if 0 < spread < table.real:
        return [
            f"All means lie within {spread:.3g}, less than the {table.real:.4g} that held-out real "
            f"data get: such differences are under the metric's own floor."
        ]
    name = {group.id: group.name for group in table.groups}
    mean = dict(zip(name, means, strict=True))
    near = [
        f"{name[pair.a]} and {name[pair.b]}"
        for pair in table.verdict.pairs
        if pair.distinct and abs(mean[pair.a] - mean[pair.b]) < table.real
    ]
    if near:
        return [
            f"{_listed(near)}: told apart, by less than the {table.real:.4g} that held-out real "
            f"data get, which is under the metric's own floor."
        ]
    return []


def _moving(table: Table, runs: Sequence[RunEntry], log: bool) -> list[str]:
    """Warn if the last scores still changed, evenly (training) or not (noise)."""
    found, residuals, freedom, improving = [], [], 0, []
    sign = 1 if table.lower_is_better else -1
    for group in table.groups:
        ends = [run.curve.value[-2:] for run in runs if run.group == group.id]
        ends = [(before, last) for before, last in (end for end in ends if len(end) == 2)]
        if not ends or (log and min(map(min, ends)) <= 0):
            continue
        change = np.array([np.log(b / a) if log else b - a for a, b in ends])
        size = 1.0 if log else max(abs(np.mean(ends)), 1e-12)
        if sign * change.mean() / size < -0.05:
            improving.append(f"{group.name} ({_percent(change.mean() / size, log)})")
        residuals += list(change - change.mean())
        freedom += len(change) - 1
    if improving:
        found.append(
            f"Still improving between the last two scorings: {_listed(improving)}. "
            f"More training may change the order."
        )
    if freedom > 2 and table.verdict.pairs:
        # Of one scoring: a change has the noise of two.
        noise = float(np.sqrt(np.square(residuals).sum() / freedom / 2))
        small = [
            pair
            for pair in table.verdict.pairs
            if pair.distinct and abs(np.log(pair.ratio) if log else pair.ratio) < noise
        ]
        if small:
            by_id = {group.id: group.name for group in table.groups}
            names = [f"{by_id[pair.a]} and {by_id[pair.b]}" for pair in small]
            size = _percent(noise, log) if log else f"{noise:.2g}"
            found.append(
                f"{_listed(names)}: a difference of the means, but less than the {size} by which "
                f"the number of one run moves from one scoring to the next."
            )
    return found


def _percent(change: float, log: bool) -> str:
    return f"{100 * (np.expm1(change) if log else change):+.0f} %"


def _unlike(table: Table, runs: Sequence[RunEntry]) -> list[str]:
    """Settings in which runs differ besides the compared ones."""
    found = []
    samples = sorted({run.cost["samples"] for run in runs if "samples" in run.cost})
    if samples and samples[-1] > 1.01 * samples[0]:
        found.append(f"Trained on {samples[0]:,} to {samples[-1]:,} samples: see the cost.")
    devices = sorted({str(run.provenance.get("device")) for run in runs})
    if len(devices) > 1:
        found.append(f"Times are of different devices ({_listed(devices)}): do not compare them.")
    commits = sorted({str(run.provenance.get("git")) for run in runs})
    if len(commits) > 1:
        found.append(f"Trained by {len(commits)} versions of the code: {_listed(commits)}.")
    mixed = [
        f"{group.name} ({', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''})"
        for group in table.groups
        if (keys := [key for key, value in group.config.items() if value == "several"])
    ]
    if mixed:
        found.append(f"Runs of different settings in one group: {_listed(mixed)}.")
    seeds = {
        group.id: [run.seed for run in runs if run.group == group.id] for group in table.groups
    }
    if any(len(set(own)) < len(own) for own in seeds.values()):
        found.append("Runs of one group share a seed: the verdict takes the mean of each seed.")
    return found
