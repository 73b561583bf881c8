"""Procedures on noise of a known make: what shares its weather cancels in turns, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.calibration import Weather
from harness.analysis.procedures import PROCEDURES, Performance, perform

SHARED, OWN = 0.10, 0.005


@pytest.fixture(scope="module")
def found() -> dict[str, Performance]:
    """Forty rounds that differ by 10 %, whose lanes differ by half a per cent."""
    random = np.random.default_rng(1)
    weather: Weather = [random.normal(0, SHARED) + random.normal(0, OWN, 6) for _ in range(40)]
    return {each.procedure: each for each in perform({"steady": weather}, seed=1, repeats=1000)}


def test_every_procedure_is_performed(found: dict[str, Performance]) -> None:
    assert list(found) == [each.name for each in PROCEDURES]


def test_what_is_measured_apart_calls_equal_things_different(found: dict[str, Performance]) -> None:
    assert found["one run each"].false > 0.8
    assert found["mean of 3"].false > 0.6
    assert found["one run each"].width == pytest.approx(np.exp(1.96 * SHARED * 2**0.5) - 1, rel=0.2)


def test_turns_keep_what_they_promise(found: dict[str, Performance]) -> None:
    turns = found["in turns"]
    assert turns.false == pytest.approx(0.05, abs=0.025)
    assert turns.width < found["5 runs, 2 worst dropped"].width / 10
    assert turns.needs < found["mean of 3"].needs / 20
