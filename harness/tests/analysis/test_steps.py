"""Steps are found where they are, and seldom where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.steps import LEAST, noise, steps

RANDOM = 5


def series(*levels: float, runs: int, spread: float, seed: int = RANDOM) -> list[float]:
    random = np.random.default_rng(seed)
    return [float(level * np.exp(random.normal(0, spread))) for level in levels for _ in range(runs)]


def test_a_step_of_four_standard_deviations_is_found_where_it_is() -> None:
    found = [steps(series(1.0, 1.13, runs=15, spread=0.03, seed=seed)) for seed in range(40)]

    near = sum(len(each) == 1 and abs(each[0] - 15) <= 1 for each in found)
    assert near >= 36


def test_equal_runs_seldom_show_a_step() -> None:
    found = [steps(series(1.0, runs=30, spread=0.03, seed=seed)) for seed in range(200)]

    assert sum(map(bool, found)) <= 10


def test_two_steps_are_two() -> None:
    assert steps(series(1.0, 1.3, 1.0, runs=8, spread=0.01)) == [8, 16]


def test_one_bad_night_is_no_step() -> None:
    values = series(1.0, runs=20, spread=0.02)
    values[10] *= 1.5

    assert steps(values) == []


@pytest.mark.parametrize("runs", range(LEAST))
def test_too_few_runs_have_no_steps(runs: int) -> None:
    assert steps([1.0 + number for number in range(runs)]) == []


def test_equal_values_are_one_level() -> None:
    assert steps([2.0] * 12) == []
    assert steps([2.0] * 6 + [3.0] * 6) == [6]


def test_noise_is_told_apart_from_a_step() -> None:
    values = np.log(series(1.0, 2.0, runs=50, spread=0.03))

    assert 0.02 < noise(values) < 0.04
