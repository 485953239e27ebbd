"""Tests of which groups of a few seeds differ, with at most 5 % of false alarms per table.

Two groups i, j are told apart if both of these say so:

    1. Tukey-Kramer: |m_i - m_j| / s > q(k, N - k) sqrt((1/n_i + 1/n_j) / 2), s the pooled standard
       deviation, q the 95 % point of the studentized range of k groups: all pairs at 5 % together
    2. a test of the pair by its own two variances: Welch's t at 5 %; or, if Bartlett's test finds
       at 20 % that the variances of the groups differ, Games-Howell (Games & Howell 1976), which
       corrects for all pairs as well

With three seeds no single one of them will do (`benchmarks/verdicts.py`, ten groups): Tukey alone
gives 19 % of false alarms if one group spreads four times as wide as the others; Games-Howell alone
10 %, and 26 % among thirty groups, having too few degrees of freedom; Welch's t, corrected for all
pairs, finds 7 % of the differences of four standard deviations. A pre-test that chooses between
them does not help, since three seeds do not show which case it is. Both together give 3 % if the
standard deviations are equal, at most 6 % where they differ by a factor of up to 2, and 7 % in the
worst case up to 4; they find 75 % of the differences of four standard deviations.

A variance of two seeds says next to nothing: by it a FID of 3.8 could not be told from one of 500.
So the second test shrinks it towards the pooled one (in the manner of Smyth 2004, "Linear models
and empirical Bayes methods", where the data choose how far), with `BORROWED` degrees of freedom,
chosen by simulation. Ten groups of two then give 4 % of false alarms if the standard deviations are
equal and 6 % up to a factor of 2, but 11 % in the worst case up to 4; they find 42 % of the
differences of four standard deviations and 92 % of eight.

Quality is compared by its logarithm if it is a positive distance (FID): its spread grows with it.
"""

import string
from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np
from scipy import special

ALPHA = 0.05
UNEQUAL = 0.2  # level of Bartlett's test
BORROWED = 0.5


class Differences:
    """All pairs of k groups; arrays are (k, k), and entry [i, j] is of m_i - m_j.

    Args:
        samples: two groups or more, each of two numbers or more (its seeds).

    Attributes:
        difference: difference of the means.
        p: the larger one of the two tests; NaN if no group has any spread.
        bartlett: p of the hypothesis that the variances are equal.
        fallback: True if Games-Howell took the place of Welch's t.

    Raises:
        ValueError: if there are fewer groups, or numbers in one.
    """

    def __init__(self, samples: Sequence[Sequence[float]]) -> None:
        groups = [np.asarray(group, float) for group in samples]
        if len(groups) < 2 or min(map(len, groups)) < 2:
            raise ValueError("a comparison needs two groups or more, each of two numbers or more")
        self.k = k = len(groups)
        n = np.array([len(group) for group in groups], float)
        mean = np.array([group.mean() for group in groups])
        variance = np.array([group.var(ddof=1) for group in groups])
        # Seeds that gave the same number up to rounding have no spread.
        variance[variance <= (1e-12 * np.abs(mean)) ** 2] = 0
        self.difference = mean[:, None] - mean[None, :]
        self.bartlett = bartlett(variance, n - 1)
        self.fallback = self.bartlett < UNEQUAL

        i, j = self._pairs = np.triu_indices(k, 1)
        self._df = float((n - 1).sum())
        pooled = (variance * (n - 1)).sum() / self._df
        # In units of the standard error of one mean, as the studentized range has it.
        self._error = np.sqrt(pooled * (1 / n[i] + 1 / n[j]) / 2)
        borrowed = np.where(n == 2, BORROWED, 0.0)
        own, df = (variance * (n - 1) + pooled * borrowed) / (n - 1 + borrowed), n - 1 + borrowed
        parts = own / n
        self._own_error = np.sqrt((parts[i] + parts[j]) / 2)
        with np.errstate(invalid="ignore"):  # 0 / 0 of pairs without any spread
            own_df = (parts[i] + parts[j]) ** 2 / (parts[i] ** 2 / df[i] + parts[j] ** 2 / df[j])
        self._own_df = np.where(self._own_error > 0, own_df, 1.0)
        self.p = self._square(self._p(), 1.0)

    def _p(self) -> np.ndarray:
        distance = np.abs(self.difference[self._pairs])
        with np.errstate(divide="ignore", invalid="ignore"):
            tukey = range_sf(distance / self._error, self.k, self._df)
            q = distance / self._own_error
            if self.fallback:
                own = _sf(q, self.k, _spreads(self._own_df))
            else:  # Welch's t is the studentized range of two
                own = 2 * special.stdtr(self._own_df, -q / np.sqrt(2))
        # Where neither group spreads, what the others do is all that is known.
        p = np.where(self._own_error > 0, np.maximum(tukey, own), tukey)
        return np.where(self._error > 0, p, np.nan)

    @cached_property
    def margin(self) -> np.ndarray:
        """Half the width of an interval around each difference; it leaves out 0 if p < 5 %."""
        tukey = self._error * range_isf(ALPHA, self.k, self._df)
        if self.fallback:
            own = self._own_error * _isf(ALPHA, self.k, _spreads(self._own_df))
        else:
            own = self._own_error * np.sqrt(2) * special.stdtrit(self._own_df, 1 - ALPHA / 2)
        return self._square(np.maximum(tukey, own), 0.0)

    def _square(self, pairs: np.ndarray, diagonal: float) -> np.ndarray:
        square = np.full((self.k, self.k), diagonal)
        square[self._pairs] = square.T[self._pairs] = pairs
        return square

    @property
    def distinct(self) -> np.ndarray:
        """Pairs that differ significantly."""
        return self.p < ALPHA


def bartlett(variance: np.ndarray, df: np.ndarray) -> float:
    """p of Bartlett's test of equal variances (1937); 0 if some are zero and 1 if all are.

    By hand, since the import of scipy.stats takes half a second of each `compare`.
    """
    if not variance.all():
        return float(not variance.any())
    k, total = len(variance), df.sum()
    pooled = (variance * df).sum() / total
    statistic = total * np.log(pooled) - (df * np.log(variance)).sum()
    statistic /= 1 + ((1 / df).sum() - 1 / total) / (3 * (k - 1))
    return float(special.chdtrc(k - 1, max(statistic, 0.0)))


# The studentized range: scipy's own takes milliseconds for a number, and there is one per pair.

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_STEPS, _PARTS = np.polynomial.legendre.leggauss(40)
# Probabilities of the standard deviation, with more of them where it is small.
_SHARES = ((_STEPS + 1) / 2) ** 3
_PARTS = _PARTS / 2 * 3 * ((_STEPS + 1) / 2) ** 2


@cache
def _range_of_normals(k: int) -> tuple[np.ndarray, np.ndarray]:
    """P(range of k standard normals < r), on a grid of r."""
    r = np.linspace(0, 16, 1601)
    z = 9 * _NODES
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * 9 * _WEIGHTS
    inside = special.ndtr(z)[None] - special.ndtr(z[None] - r[:, None])
    return r, np.clip(k * inside ** (k - 1) @ density, 0, 1)


def _spreads(df: np.ndarray) -> np.ndarray:
    """Quantiles of a standard deviation with df degrees of freedom, by `_SHARES`."""
    df = np.asarray(df, float)[..., None]
    return np.sqrt(special.chdtri(df, 1 - _SHARES) / df)


def _sf(q: np.ndarray, k: int, spreads: np.ndarray) -> np.ndarray:
    r, below = _range_of_normals(k)
    inside = np.interp(np.asarray(q, float)[..., None] * spreads, r, below, right=1.0)
    return np.where(np.isnan(q), 1.0, np.clip(1 - (inside * _PARTS).sum(-1), 0, 1))


def _isf(alpha: float, k: int, spreads: np.ndarray) -> np.ndarray:
    low, high = np.zeros(spreads.shape[:-1]), np.full(spreads.shape[:-1], 2000.0)
    for _ in range(40):
        middle = (low + high) / 2
        outside = _sf(middle, k, spreads) > alpha
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    return (low + high) / 2


@cache
def _fixed_spreads(df: float) -> np.ndarray:
    return _spreads(np.array(df))


def range_sf(q: np.ndarray, k: int, df: float) -> np.ndarray:
    """P(studentized range of k means > q), to about 1e-5; see `scipy.stats.studentized_range`."""
    return _sf(q, k, _fixed_spreads(df))


@cache
def range_isf(alpha: float, k: int, df: float) -> float:
    """The value that the studentized range of k means exceeds with probability alpha."""
    return float(_isf(alpha, k, _fixed_spreads(df)))


# Letters

LETTERS = string.ascii_letters + "αβγδεζηθικλμνξοπρστυφχψω"
MOST_SETS = 200  # on the way to the letters: their number can double with each pair


def letters(distinct: np.ndarray) -> list[str] | None:
    """The compact letter display: groups that share a letter are not told apart.

    Insert and absorb of Piepho 2004, "An algorithm for a letter-based representation of
    all-pairwise comparisons", J. Comput. Graph. Stat. 13.

    Args:
        distinct: (k, k), symmetric; groups in the order of their means, so that "a" is the best.

    Returns:
        The letters of each group; None if there are not enough of them.
    """
    k = len(distinct)
    columns = [frozenset(range(k))]  # none of which is part of another
    for i, j in zip(*np.triu(distinct, 1).nonzero(), strict=True):
        pair = {int(i), int(j)}
        kept = [column for column in columns if not pair <= column]
        parts = {column - {one} for column in columns if pair <= column for one in pair}
        columns = kept + [
            part
            for part in parts
            if not any(part <= other for other in kept) and not any(part < o for o in parts)
        ]
        if len(columns) > MOST_SETS:
            return None
    if len(columns) > len(LETTERS):
        return None
    columns = sorted(columns, key=sorted)
    return ["".join(LETTERS[c] for c, own in enumerate(columns) if i in own) for i in range(k)]
