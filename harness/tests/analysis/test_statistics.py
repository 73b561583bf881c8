"""Intervals cover what they say, whatever the distribution; percentiles have samples enough."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.analysis.statistics import (
    between_rank,
    chance,
    chance_between,
    estimate,
    interval_rank,
    mean,
    percentile,
    pooled_percentile,
    samples_needed,
    shift_between,
)


def test_six_rounds_are_the_fewest_for_an_interval() -> None:
    assert [interval_rank(n) for n in range(6)] == [None] * 6
    assert [(rank, round(coverage, 5)) for rank, coverage in filter(None, map(interval_rank, (6, 10)))] == [
        (1, 0.96875),
        (2, 0.97852),
    ]


def test_five_values_have_a_median_and_no_interval() -> None:
    found = estimate([3, 1, 2, 5, 4])
    assert (found.centre, found.low, found.high, found.coverage) == (3, None, None, None)
    assert not found.has_interval


def test_six_values_reach_from_least_to_greatest() -> None:
    found = estimate([6, 2, 5, 3, 4, 1])
    assert (found.centre, found.low, found.high) == (3.5, 1, 6)


def test_nothing_has_no_estimate() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        estimate([])


def drawn(name: str, random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Values of a distribution whose median is 0."""
    normal = random.normal(size=shape)
    if name == "lognormal":
        return np.exp(normal) - 1
    if name == "cauchy":
        return random.standard_cauchy(size=shape)
    return normal * random.choice([0.1, 10], size=shape) if name == "mixture" else normal


@pytest.mark.parametrize("rounds", [6, 10, 17])
@pytest.mark.parametrize("name", ["normal", "lognormal", "cauchy", "mixture"])
def test_interval_covers_the_median_as_often_as_it_says(rounds: int, name: str) -> None:
    """4,000 simulated runs of each. Tolerance: four standard errors."""
    found = [estimate(row) for row in drawn(name, np.random.default_rng([rounds, len(name)]), (4000, rounds))]

    covered = np.mean([e.low <= 0 <= e.high for e in found if e.low is not None and e.high is not None])
    said = found[0].coverage or 0
    assert covered == pytest.approx(said, abs=4 * (said * (1 - said) / 4000) ** 0.5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=40))
def test_median_lies_in_its_interval(values: list[float]) -> None:
    found = estimate(values)
    assert found.low is not None
    assert found.high is not None
    assert min(values) <= found.low <= found.centre <= found.high <= max(values)


@given(n=st.integers(6, 200))
def test_no_narrower_interval_covers_enough(n: int) -> None:
    found = interval_rank(n)
    assert found is not None
    assert found[1] >= 0.95
    values = np.arange(n, dtype=float)
    tighter = values[found[0]], values[-found[0] - 1]
    assert estimate(values).low == values[found[0] - 1]
    assert tighter[0] > values[found[0] - 1]


def test_percentiles_need_ten_samples_beyond_them() -> None:
    assert [samples_needed(q) for q in (0.5, 0.9, 0.99, 0.999)] == [20, 100, 1000, 10000]
    values = np.arange(1000.0)
    assert percentile(values, 0.99) == 990
    assert percentile(values[:999], 0.99) is None
    assert percentile(values, 0.999) is None


def test_a_mean_has_students_interval_at_any_level() -> None:
    values = np.random.default_rng(2).normal(size=9)
    for confidence in (0.95, 0.99, 0.999):
        found = mean(values, chance=1 - confidence)

        error = scipy.stats.sem(values)
        expected = scipy.stats.t.interval(confidence, 8, loc=values.mean(), scale=error)
        assert (found.low, found.high) == pytest.approx(expected)
        assert found.centre == pytest.approx(values.mean())
        assert found.coverage == confidence


def test_five_rounds_have_a_mean_and_no_interval() -> None:
    found = mean([1.0, 2.0, 3.0, 4.0, 10.0])
    assert (found.centre, found.low, found.high, found.coverage, found.rounds) == (4, None, None, None, 5)
    with pytest.raises(ValueError, match="no rounds"):
        mean([])


@pytest.mark.parametrize("rounds", [6, 10, 20])
@pytest.mark.parametrize("chance", [0.05, 0.01])
def test_a_mean_s_interval_misses_normal_differences_as_often_as_asked(rounds: int, chance: float) -> None:
    """4,000 simulated runs of each. Tolerance: four standard errors."""
    random = np.random.default_rng([rounds, round(chance * 100)])
    found = [mean(row, chance=chance) for row in random.normal(size=(4000, rounds))]

    missed = np.mean([not e.low <= 0 <= e.high for e in found if e.low is not None and e.high is not None])
    assert missed == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 4000) ** 0.5)


def test_chance_is_the_paired_t_test() -> None:
    of, against = np.random.default_rng(1).normal(size=(2, 9))
    assert chance(of - against) == pytest.approx(scipy.stats.ttest_rel(of, against).pvalue)
    assert (chance([1.0]), chance([0.0, 0.0]), chance([2.0, 2.0])) == (None, 1.0, 0.0)


def test_percentile_interval_knows_that_a_round_shares_its_weather() -> None:
    """Covers the truth about as often as it says, where one that takes samples as independent does not."""
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        rounds = [random.normal(random.normal(0, 1), 1, 200) for _ in range(12)]
        found = pooled_percentile(np.sort(np.concatenate(rounds)), rounds, 0.9)
        truth = 2**0.5 * scipy.stats.norm.ppf(0.9)
        covered += found is not None and (found.low or -9) <= truth <= (found.high or 9)

    assert covered / 300 > 0.88


def test_percentile_of_few_rounds_has_no_interval_and_of_few_samples_does_not_exist() -> None:
    rounds = [np.arange(100.0)] * 5
    found = pooled_percentile(np.sort(np.concatenate(rounds)), rounds, 0.5)
    assert found is not None
    assert (found.value, found.low, found.high) == (50, None, None)
    assert pooled_percentile(np.arange(100.0), [np.arange(100.0)], 0.99) is None


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 9), (10, 10), (30, 10)])
def test_rank_sum_ranks_are_scipys(n: int, m: int) -> None:
    """The k-th least difference bounds the shift when U <= k - 1 is still rare enough, and U <= k is not."""
    found = between_rank(n, m)
    assert found is not None

    def tail(u: int) -> float:
        """P(U <= u), from a sample whose statistic is u."""
        places = [min(m, max(0, u - m * k)) for k in range(n)]
        of = [place + 0.5 + index / 1000 for index, place in enumerate(places)]
        return float(
            scipy.stats.mannwhitneyu(of, list(range(1, m + 1)), alternative="less", method="exact").pvalue
        )

    assert 2 * tail(found[0] - 1) == pytest.approx(1 - found[1])
    assert 2 * tail(found[0]) > 0.05


def test_too_few_rounds_give_no_interval_between_runs() -> None:
    assert between_rank(3, 3) is None
    found = between_rank(4, 4)
    assert found is not None
    assert (found[0], round(found[1], 6)) == (1, round(1 - 2 / 70, 6))


def test_many_rounds_are_approximated_as_well_as_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = between_rank(40, 40)
    monkeypatch.setattr("harness.analysis.statistics.EXACT", 100)
    between_rank.cache_clear()
    approximated = between_rank(40, 40)
    between_rank.cache_clear()

    assert counted is not None
    assert approximated is not None
    assert abs(counted[0] - approximated[0]) <= 1
    assert approximated[1] == pytest.approx(counted[1], abs=2e-3)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (10, 30)])
def test_shift_between_covers_the_truth_as_often_as_it_says(n: int, m: int) -> None:
    random = np.random.default_rng(n)
    found = [shift_between(random.standard_cauchy(n) + 1, random.standard_cauchy(m)) for _ in range(3000)]

    covered = np.mean([e.low <= 1 <= e.high for e in found if e and e.low is not None and e.high is not None])
    said = (found[0].coverage if found[0] else None) or 0
    assert covered == pytest.approx(said, abs=4 * (said * (1 - said) / 3000) ** 0.5)


def test_chance_between_is_welchs_test() -> None:
    random = np.random.default_rng(1)
    of, against = random.normal(size=9), random.normal(size=7)

    expected = scipy.stats.ttest_ind(of, against, equal_var=False).pvalue
    assert chance_between(of, against) == pytest.approx(expected)
    assert chance_between(of[:1], against) is None
