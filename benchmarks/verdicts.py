"""Error rates and power of a comparison of variants, on simulated tables.

    python -m benchmarks.verdicts [tables=2000]

Ten variants of two, three or five seeds (and thirty of three), normal errors on the scale of the
test.
False alarms: tables without any true difference in which some pair is called different. Power: one
variant is 2, 4 or 8 standard deviations from the nine others; share of these pairs that are found.
"""

import sys
from collections.abc import Callable, Iterable

import numpy as np
from scipy import special

from src.report.statistics import ALPHA, Differences, range_isf

SPREADS: dict[str, Callable[[int], np.ndarray]] = {
    "equal": np.ones,
    "from 1 to 2": lambda k: np.exp(np.linspace(0, np.log(2), k)),
    "from 1 to 4": lambda k: np.exp(np.linspace(0, np.log(4), k)),
    "half 2": lambda k: np.where(np.arange(k) < k // 2, 1.0, 2.0),
    "half 4": lambda k: np.where(np.arange(k) < k // 2, 1.0, 4.0),
    "one 2": lambda k: np.where(np.arange(k) < k - 1, 1.0, 2.0),
    "one 4": lambda k: np.where(np.arange(k) < k - 1, 1.0, 4.0),
}


def tables(
    count: int, k: int, n: int, sd: np.ndarray, shift: float = 0.0, law: str = "normal"
) -> Iterable[np.ndarray]:
    """Simulated tables (k, n); the first variant is better by `shift` root mean square sd."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        # t of five degrees of freedom has heavy tails; brought to a variance of 1.
        noise = (
            rng.standard_normal((k, n))
            if law == "normal"
            else rng.standard_t(5, (k, n)) * np.sqrt(3 / 5)
        )
        table = noise * sd[:, None]
        table[0] -= shift * np.sqrt(np.mean(sd**2))
        yield table


def ours(table: np.ndarray) -> np.ndarray:
    """Pairs that `src.report.statistics` calls different."""
    return Differences(table).distinct


def tukey(table: np.ndarray) -> np.ndarray:
    """Tukey's test alone."""
    k, n = table.shape
    error = np.sqrt(table.var(1, ddof=1).mean() / n)
    return distances(table) / error > range_isf(ALPHA, k, k * (n - 1.0))


def games_howell(table: np.ndarray) -> np.ndarray:
    """Games-Howell alone: the studentized range by each pair's own variances."""
    from src.report.statistics import _sf, _spreads

    error, df = own(table)
    return _sf(distances(table) / error, len(table), _spreads(df)) < ALPHA


def welch_sidak(table: np.ndarray) -> np.ndarray:
    """Welch's t at the level that is right for independent pairs, about Dunnett's T3."""
    error, df = own(table)
    level = 1 - (1 - ALPHA) ** (2 / (len(table) * (len(table) - 1)))
    return distances(table) / error > np.sqrt(2) * special.stdtrit(df, 1 - level / 2)


def distances(table: np.ndarray) -> np.ndarray:
    """|m_i - m_j| of all pairs (k, k)."""
    return np.abs(table.mean(1)[:, None] - table.mean(1)[None, :])


def own(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard error of one mean by each pair's own variances, and Welch's degrees of freedom."""
    n, v = table.shape[1], table.var(1, ddof=1)
    both = v[:, None] + v[None, :]
    return np.sqrt(both / 2 / n), both**2 / (v[:, None] ** 2 + v[None, :] ** 2) * (n - 1)


TESTS = {"both": ours, "Tukey": tukey, "Games-Howell": games_howell, "Welch-Sidak": welch_sidak}


def main(count: int) -> None:
    """Print both tables in Markdown."""
    print("# How often a verdict is wrong\n")
    print(f"False alarms in {count} tables, in percent (standard error at 5 %: "
          f"{100 * np.sqrt(0.05 * 0.95 / count):.1f})\n")  # fmt: skip
    print(f"| variants x seeds | standard deviations | {' | '.join(TESTS)} |")
    print(f"|---|---|{'--:|' * len(TESTS)}")
    cases = [(10, 3, s, "normal") for s in SPREADS] + [(10, 3, "equal", "t5")]
    cases += [(10, n, s, "normal") for n in (5, 2) for s in SPREADS]
    cases += [
        (k, n, s, "normal") for k, n in ((2, 3), (4, 3), (30, 3)) for s in ("equal", "from 1 to 4")
    ]
    for k, n, spread, law in cases:
        made = list(tables(count, k, n, SPREADS[spread](k), law=law))
        rates = [100 * np.mean([test(table).any() for table in made]) for test in TESTS.values()]
        name = spread if law == "normal" else f"{spread}, t of 5 df"
        print(f"| {k} x {n} | {name} | {' | '.join(f'{rate:.1f}' for rate in rates)} |", flush=True)
    print(f"\nPower, in percent\n\n| variants x seeds | standard deviations | difference | "
          f"{' | '.join(TESTS)} |")  # fmt: skip
    print(f"|---|---|--:|{'--:|' * len(TESTS)}")
    for n, shifts in ((2, (4, 8)), (3, (2, 4)), (5, (2, 4))):
        for spread in ("equal", "from 1 to 2", "from 1 to 4"):
            for shift in shifts:
                made = list(tables(count // 2, 10, n, SPREADS[spread](10), shift))
                rates = [100 * np.mean([t(x)[0, 1:].mean() for x in made]) for t in TESTS.values()]
                print(f"| 10 x {n} | {spread} | {shift} sd | "
                      f"{' | '.join(f'{rate:.0f}' for rate in rates)} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["tables=2000"])[0].removeprefix("tables=")))
