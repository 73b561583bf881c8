"""What looking again and again is charged: the levels, and how often all looks together are wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from harness.analysis.looks import chance_at
from harness.plan.order import looks


def test_a_run_looks_after_its_least_rounds_then_now_and_then_and_at_its_end() -> None:
    assert looks(6, 6) == (6,)
    assert looks(6, 12) == (6, 9, 12)
    assert looks(6, 13) == (6, 9, 12, 13)


def test_one_look_is_charged_all() -> None:
    assert chance_at(6, (6,)) == pytest.approx(0.05)


def test_levels_are_those_of_the_literature() -> None:
    """Five equal looks with Lan and DeMets' function of Pocock's type: Z = 2.44, 2.43, 2.41, 2.40, 2.39.

    Source: Lan and DeMets, Biometrika 1983, table 1; Reboussin and others, Controlled Clinical Trials 2000.
    """
    bounds = [float(norm.isf(chance_at(look, (1, 2, 3, 4, 5)) / 2)) for look in range(1, 6)]
    assert bounds == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=0.005)


def test_all_looks_together_are_wrong_in_five_of_a_hundred_runs() -> None:
    planned = (6, 9, 12)
    walks = np.random.default_rng(1).normal(size=(200_000, 12)).cumsum(axis=1)
    crossed = np.zeros(len(walks), dtype=bool)
    for look in planned:
        bound = float(norm.isf(chance_at(look, planned) / 2))
        crossed |= np.abs(walks[:, look - 1]) > bound * np.sqrt(look)

    assert crossed.mean() == pytest.approx(0.05, abs=0.0025)


def test_a_run_that_was_broken_off_is_charged_for_the_look_to_come() -> None:
    assert chance_at(7, (6, 9, 12)) == chance_at(9, (6, 9, 12))
    assert chance_at(3, (6, 9, 12)) == chance_at(6, (6, 9, 12))
