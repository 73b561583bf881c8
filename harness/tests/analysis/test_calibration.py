"""The calibration tells a sound method from a broken one, on the noise that is kept with the repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis import calibration
from harness.analysis.compare import Comparison, Side
from harness.analysis.excerpt import Excerpt, Kept
from harness.analysis.measures import METRICS, Samples
from harness.analysis.statistics import Estimate, mean
from harness.cli._excerpts import baseline_excerpts
from harness.results import layout
from harness.suite import load_suite

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def recorded() -> list[Excerpt]:
    return baseline_excerpts(ROOT / layout.DEFAULT_ROOT)


@pytest.fixture(scope="module")
def weathers(recorded: list[Excerpt]) -> dict[str, calibration.Weather]:
    return {metric: calibration.weather(recorded, metric) for metric in METRICS}


def test_recorded_noise_calibrates_the_nightly(
    recorded: list[Excerpt], weathers: dict[str, calibration.Weather]
) -> None:
    rounds = load_suite("nightly", dataplanes=("none", "pyztunnel")).rounds

    outcomes = calibration.equal_pairs(recorded, weathers, count=2000, rounds=rounds, seed=1)
    found = calibration.power(weathers[calibration.METRIC], count=1000, rounds=rounds, seed=1)

    assert [each.name for each in (*outcomes, found) if not each.good] == []
    assert outcomes[-1].of >= calibration.REAL_PAIRS


def test_an_interval_that_is_too_narrow_is_caught(
    recorded: list[Excerpt], weathers: dict[str, calibration.Weather], monkeypatch: pytest.MonkeyPatch
) -> None:
    def halved(comparison: Comparison) -> bool:
        ratio = comparison.ratio
        assert ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        low, high = (ratio.centre * (end / ratio.centre) ** 0.5 for end in (ratio.low, ratio.high))
        return not low <= 1 <= high

    monkeypatch.setattr(calibration, "leaves_out_one", halved)
    outcome = calibration.equal_pairs(recorded, weathers, count=500, rounds=10, seed=1)[0]

    assert not outcome.good


def test_an_interval_that_is_too_wide_is_caught(
    recorded: list[Excerpt], weathers: dict[str, calibration.Weather], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the sign-test interval was, which at 10 rounds flags 2.1 %."""

    def wider(values: Samples, *, chance: float) -> Estimate:
        found = mean(values, chance=chance)
        assert found.low is not None
        assert found.high is not None
        return Estimate(
            centre=found.centre,
            low=found.centre - 1.3 * (found.centre - found.low),
            high=found.centre + 1.3 * (found.high - found.centre),
            coverage=found.coverage,
            rounds=found.rounds,
        )

    monkeypatch.setattr("harness.analysis.compare.mean", wider)
    outcome = calibration.equal_pairs(recorded, weathers, count=1000, rounds=10, seed=1)[0]

    assert not outcome.good


def test_few_rounds_have_too_little_power_and_it_is_said(weathers: dict[str, calibration.Weather]) -> None:
    assert not calibration.power(weathers[calibration.METRIC], count=200, rounds=6, seed=1).good


def test_nothing_recorded_is_no_pass() -> None:
    assert not calibration.power([], count=100, rounds=10, seed=1).good


def test_residuals_keep_the_spread_of_what_was_recorded(recorded: list[Excerpt]) -> None:
    """Rounds drawn from a known spread come back with it, the mean's share restored."""
    random = np.random.default_rng(1)
    side = [Side(configuration=f"c{number}", metric="steady") for number in range(200)]
    kept = {
        each: {(number, 0): float(np.exp(random.normal(0, 0.1))) for number in range(1, 7)} for each in side
    }
    one = recorded[0]
    measures = {
        each: Kept(side=each, unit="s", values=kept[each], percentiles={}, samples=6, at_least="")
        for each in side
    }
    made = replace(one, measures=measures)

    residuals = np.concatenate(calibration.weather([made], "steady"))

    assert residuals.std() == pytest.approx(0.1, rel=0.1)
