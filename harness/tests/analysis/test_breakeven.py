"""Where one level of capture overtakes another: found, bounded, or not told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.breakeven import Crossing, break_even, crossing
from harness.analysis.compare import Side
from harness.plan.model import Configuration, Interception, Path

COUNTS = (0, 1000, 10_000)
REDIRECT = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)
Truth = Callable[[int], float]


def measured(
    truth: Truth, *, noise: float, rounds: int = 10, seed: int = 1
) -> dict[int, dict[tuple[int, int], float]]:
    random = np.random.default_rng(seed)
    return {
        count: {
            (number, 0): truth(count) * float(np.exp(random.normal(0, noise))) for number in range(rounds)
        }
        for count in COUNTS
    }


def crossed(redirect: Truth, notrack: Truth, *, noise: float = 0.001, seed: int = 1) -> Crossing:
    return crossing(
        "redirect",
        "tproxy-notrack",
        measured(redirect, noise=noise, seed=seed),
        measured(notrack, noise=noise, seed=seed + 1),
    )


def bent(count: int) -> float:
    """13 ns a rule while they are in the cache, 27 ns beyond 1,000."""
    return 100e-6 + 13e-9 * min(count, 1000) + 27e-9 * max(0, count - 1000)


def test_the_far_point_does_not_move_the_crossing() -> None:
    """They cross at 308 rules; a line through all three points said 391 (340 to 415)."""
    found = crossed(lambda _: 104e-6, bent)

    assert found.between == (0, 1000)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 308 < found.high
    assert "redirect overtakes tproxy-notrack at" in found.sentence


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = [
        found.low is not None and found.high is not None and found.low <= 308 <= found.high
        for found in (crossed(lambda _: 104e-6, bent, noise=0.005, seed=seed) for seed in range(0, 400, 2))
        if found.rules is not None
    ]
    assert sum(held) / len(held) >= 0.90


def test_an_interval_that_is_not_bounded_is_none() -> None:
    found = crossed(lambda _: 104e-6, lambda count: 103.9e-6 + 0.05e-9 * count, noise=0.02, seed=8)

    assert (found.low, found.high) == (None, None)


def test_who_never_overtakes_is_not_told_to() -> None:
    found = crossed(lambda _: 900e-6, bent)
    assert (found.rules, found.between) == (None, None)
    assert "is not told by this run" in found.sentence


def test_from_the_first_rule_on_only_where_the_interval_says_so() -> None:
    assert "from the first rule on" in crossed(lambda _: 90e-6, bent).sentence
    assert "from the first rule on" not in crossed(lambda _: 99.9e-6, bent, noise=0.02).sentence


def test_what_a_rule_costs_comes_with_its_interval_and_bends_are_said() -> None:
    levels = {Interception.REDIRECT: lambda _: 104e-6, Interception.TPROXY_NOTRACK: bent}
    configurations = [
        replace(REDIRECT, interception=level, filler_rules=count) for level in levels for count in COUNTS
    ]
    values = {
        Side(
            configuration=replace(REDIRECT, interception=level, filler_rules=count).key, metric="steady"
        ): points
        for seed, (level, truth) in enumerate(levels.items())
        for count, points in measured(truth, noise=0.001, seed=seed).items()
    }

    found = break_even(configurations, values)

    assert found is not None
    assert found.per_rule_s["tproxy-notrack"].centre == pytest.approx(25.6e-9, rel=0.02)
    assert found.per_rule_s["tproxy-notrack"].low is not None
    assert "Not in proportion: tproxy-notrack." in found.sentence
    assert [each.between for each in found.crossings] == [(0, 1000)]
    assert break_even([REDIRECT], values) is None
