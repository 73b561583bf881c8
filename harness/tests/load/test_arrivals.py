"""Instants of an open loop: even or drawn, within the window, the same for the same seed."""

from __future__ import annotations

from itertools import pairwise
from statistics import mean, pvariance

import pytest

from harness.load.arrivals import NS_PER_S, instants
from harness.plan.model import Arrivals

BOTH = list(Arrivals)


@pytest.mark.parametrize("arrivals", BOTH)
def test_instants_ascend_within_the_window(arrivals: Arrivals) -> None:
    found = instants(arrivals, rate_hz=500, seconds=2, seed="7/cell/rate")

    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] < 2 * NS_PER_S


def test_constant_arrivals_are_even_and_begin_at_once() -> None:
    assert instants(Arrivals.CONSTANT, rate_hz=4, seconds=1, seed="") == [
        0,
        250_000_000,
        500_000_000,
        750_000_000,
    ]


def test_poisson_arrivals_are_those_of_their_seed() -> None:
    one, again, other = (
        instants(Arrivals.POISSON, rate_hz=100, seconds=1, seed=seed) for seed in ("1/a", "1/a", "1/b")
    )

    assert one == again
    assert one != other


def test_poisson_arrivals_keep_the_mean_rate_and_have_its_variance() -> None:
    counts = [
        len(instants(Arrivals.POISSON, rate_hz=200, seconds=1, seed=str(number))) for number in range(400)
    ]

    assert mean(counts) == pytest.approx(200, rel=0.02)
    assert pvariance(counts) == pytest.approx(200, rel=0.25)


def test_poisson_gaps_are_as_wide_as_their_mean() -> None:
    """An exponential's standard deviation equals its mean; even gaps have none."""
    found = instants(Arrivals.POISSON, rate_hz=1000, seconds=20, seed="gaps")
    gaps = [later - earlier for earlier, later in pairwise(found)]

    assert mean(gaps) == pytest.approx(1e6, rel=0.03)
    assert pvariance(gaps) ** 0.5 == pytest.approx(1e6, rel=0.05)
