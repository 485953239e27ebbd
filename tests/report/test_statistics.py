"""The test against scipy's, and what it promises on simulated tables."""

import time

import numpy as np
import pytest
from scipy import stats

from benchmarks.verdicts import SPREADS, tables
from src.report.statistics import LETTERS, Differences, bartlett, letters, range_isf, range_sf

# 2,000 tables at 5 %: the standard error is 0.5 %, so that 6 % is two of them above.
TABLES, MOST = 2000, 0.06


@pytest.mark.parametrize(("q", "k", "df"), [
    (3.5, 3, 10.0), (5, 10, 20.0), (20, 10, 2.3), (60, 10, 1.2), (4, 2, 4.0), (10, 30, 60.0),
    (3.9, 60, 130.0),
])  # fmt: skip
def test_the_studentized_range_is_scipys(q: float, k: int, df: float) -> None:
    assert range_sf(np.array(q), k, df) == pytest.approx(
        stats.studentized_range.sf(q, k, df), abs=1e-4
    )


def test_its_critical_value_is_that_of_the_tables() -> None:
    assert range_isf(0.05, 10, 20.0) == pytest.approx(5.008, abs=1e-3)
    assert range_isf(0.05, 3, 6.0) == pytest.approx(4.339, abs=1e-3)


def groups(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(n) + m for n, m in ((3, 0), (5, 1), (4, 4), (3, 0.5))]


def test_p_is_the_larger_one_of_tukey_kramers_and_welchs() -> None:
    samples = groups()
    found = Differences(samples)
    assert not found.fallback
    tukey = stats.tukey_hsd(*samples).pvalue
    welch = [[stats.ttest_ind(a, b, equal_var=False).pvalue for b in samples] for a in samples]
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found.p[off], np.maximum(tukey, welch)[off], atol=1e-4)
    np.testing.assert_allclose(found.difference[0, 2], samples[0].mean() - samples[2].mean())


def test_where_variances_differ_it_is_games_howell() -> None:
    rng = np.random.default_rng(1)
    samples = [rng.standard_normal(6) * sd + 10 * sd for sd in (0.01, 1, 3)]
    found = Differences(samples)
    assert found.fallback
    games_howell = stats.tukey_hsd(*samples, equal_var=False).pvalue
    tukey = stats.tukey_hsd(*samples).pvalue
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found.p[off], np.maximum(tukey, games_howell)[off], atol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_leaves_out_0_just_if_a_pair_is_told_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.standard_normal(3) * rng.choice([0.2, 1, 3]) + m for m in range(4)]
    found = Differences(samples)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_array_equal(
        (np.abs(found.difference) > found.margin)[off], found.distinct[off]
    )


def test_bartlett_is_scipys() -> None:
    samples = groups()
    ours = bartlett(
        np.array([x.var(ddof=1) for x in samples]), np.array([len(x) - 1.0 for x in samples])
    )
    assert ours == pytest.approx(stats.bartlett(*samples).pvalue)


def test_groups_without_any_spread() -> None:
    assert np.isnan(Differences([[1, 1], [2, 2]]).p[0, 1])
    # 25 of 25 modes in each run: the spread of the others is what is known.
    some = Differences([[25, 25, 25], [25, 25, 25], [8, 8, 8], [10, 12, 11]])
    assert some.p[0, 1] == pytest.approx(1)
    assert some.distinct[0, 2]


def test_two_seeds_borrow_from_the_others() -> None:
    """FIDs as measured: a variance of one degree of freedom would veto what anyone sees."""
    fids = ([3.33, 4.32], [3.34, 4.24], [34.0, 28.9, 40.3], [102.6, 103.8, 105.0], [493, 506, 509])
    found = Differences([np.log(group) for group in fids])
    assert found.distinct[:2, 2:].all()
    assert not found.distinct[0, 1]
    # And two that agree by chance are not taken for certain.
    assert not Differences([[1.0, 1.0001], [1.3, 1.3001], [0, 1], [2, 3]]).distinct[0, 1]


@pytest.mark.parametrize("bad", [[[1, 2]], [[1, 2], [3]], []])
def test_what_cannot_be_tested_is_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="two groups or more"):
        Differences(bad)


# One real table needs its pairs only; a simulation needs 2,000, so these are the slowest tests.


def alarms(k: int, n: int, spread: str, law: str = "normal") -> float:
    made = tables(TABLES, k, n, SPREADS[spread](k), law=law)
    return float(np.mean([Differences(table).distinct.any() for table in made]))


@pytest.mark.parametrize(("k", "n", "spread", "law"), [
    (10, 3, "equal", "normal"),
    (10, 3, "from 1 to 2", "normal"),
    pytest.param(10, 3, "half 2", "normal", marks=pytest.mark.slow),
    pytest.param(10, 3, "from 1 to 4", "normal", marks=pytest.mark.slow),
    pytest.param(10, 3, "equal", "t5", marks=pytest.mark.slow),
    pytest.param(10, 5, "equal", "normal", marks=pytest.mark.slow),
    pytest.param(10, 2, "equal", "normal", marks=pytest.mark.slow),
    pytest.param(10, 2, "from 1 to 2", "normal", marks=pytest.mark.slow),
    pytest.param(10, 5, "from 1 to 2", "normal", marks=pytest.mark.slow),
    pytest.param(30, 3, "equal", "normal", marks=pytest.mark.slow),
    pytest.param(2, 3, "from 1 to 4", "normal", marks=pytest.mark.slow),
    pytest.param(4, 3, "equal", "normal", marks=pytest.mark.slow),
])  # fmt: skip
def test_false_alarms_are_at_most_six_percent(k: int, n: int, spread: str, law: str) -> None:
    assert alarms(k, n, spread, law) <= MOST


@pytest.mark.parametrize(
    ("n", "shift", "power"),
    [(2, 4, 0.35), (2, 8, 0.88), (3, 2, 0.10), (3, 4, 0.70), (5, 2, 0.35), (5, 4, 0.95)],
)
def test_power(n: int, shift: float, power: float) -> None:
    """At least what the notes say, but for the noise of 200 tables of nine pairs each."""
    made = tables(200, 10, n, np.ones(10), shift)
    assert np.mean([Differences(table).distinct[0, 1:].mean() for table in made]) > power


# Letters


def shown(distinct: np.ndarray) -> np.ndarray:
    own = [set(word) for word in letters(distinct)]
    return np.array([[not (a & b) for b in own] for a in own])


@pytest.mark.parametrize("seed", range(30))
def test_groups_share_a_letter_just_if_they_are_not_told_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 12))
    distinct = np.triu(rng.random((k, k)) < rng.random(), 1)
    distinct |= distinct.T
    np.testing.assert_array_equal(shown(distinct), distinct)


def test_letters_of_a_textbook_case() -> None:
    distinct = np.zeros((4, 4), bool)
    for i, j in ((0, 2), (0, 3), (1, 3)):
        distinct[i, j] = distinct[j, i] = True
    assert letters(distinct) == ["a", "ab", "bc", "c"]
    assert letters(np.zeros((3, 3), bool)) == ["a", "a", "a"]
    assert letters(~np.eye(3, dtype=bool)) == ["a", "b", "c"]


def pairs_of(k: int) -> np.ndarray:
    """2 k groups, of which each differs from its neighbour only."""
    distinct = np.zeros((2 * k, 2 * k), bool)
    for i in range(0, 2 * k, 2):
        distinct[i, i + 1] = distinct[i + 1, i] = True
    return distinct


def test_letters_end_where_there_would_be_too_many() -> None:
    """k pairs that overlap with all others need 2^k letters."""
    assert len(set("".join(letters(pairs_of(6))))) == 64
    np.testing.assert_array_equal(shown(pairs_of(6)), pairs_of(6))
    begin = time.process_time()
    assert letters(pairs_of(7)) is None  # more than there are
    assert letters(pairs_of(100)) is None
    assert time.process_time() - begin < 2
    all_differ = ~np.eye(len(LETTERS) + 1, dtype=bool)
    assert letters(all_differ) is None
    assert letters(all_differ[1:, 1:]) == list(LETTERS)
