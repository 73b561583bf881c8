"""Intervals cover what they say, whatever the distribution; percentiles have samples enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.analysis.statistics import estimate, interval_rank, percentile, samples_needed


def test_six_rounds_are_the_fewest_for_an_interval() -> None:
    assert [interval_rank(n) for n in range(6)] == [None] * 6
    assert [(rank, round(coverage, 5)) for rank, coverage in filter(None, map(interval_rank, (6, 10)))] == [
        (1, 0.96875),
        (2, 0.97852),
    ]


def test_five_values_have_a_median_and_no_interval() -> None:
    found = estimate([3, 1, 2, 5, 4])
    assert (found.median, found.low, found.high, found.coverage) == (3, None, None, None)
    assert not found.has_interval


def test_six_values_reach_from_least_to_greatest() -> None:
    found = estimate([6, 2, 5, 3, 4, 1])
    assert (found.median, found.low, found.high) == (3.5, 1, 6)


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
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


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
