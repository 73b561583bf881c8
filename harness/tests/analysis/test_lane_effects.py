"""What a lane does by itself is shown, and is in no comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.findings import Findings, analyse
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic

SLOWER = 1.2
MATRIX = (
    "matrix=[{path=['cross-node'], dataplane=['none']}, {path=['cross-node'], dataplane=['pyztunnel'], "
    "interception=['redirect', 'tproxy']}]"
)

FOUR_LANES = ["lanes=4", "twin=true", "rounds=8", MATRIX]


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Lane 3 is a fifth slower than the other three, whatever stands on it."""
    suite = load_suite("smoke", FOUR_LANES, dataplanes=("none", "pyztunnel"))
    root = tmp_path_factory.mktemp("results")
    return analyse(read(synthetic.record(root, suite, lanes={3: SLOWER}, noise=0.004)))


@pytest.mark.parametrize("metric", ["steady", "rate"])
def test_a_slow_lane_is_found_whatever_stands_on_it(findings: Findings, metric: str) -> None:
    effects = {each.lane: each.ratio for each in findings.lane_effects if each.metric == metric}

    mean = SLOWER**0.25
    assert {1, 2, 3, 4} == set(effects)
    assert effects[3].centre == pytest.approx(SLOWER / mean, rel=0.03)
    assert all(effects[lane].centre == pytest.approx(1 / mean, rel=0.03) for lane in (1, 2, 4))
    assert effects[3].low is not None
    assert effects[3].low > 1


def test_it_is_in_no_ratio_where_each_configuration_has_stood_on_each_lane(findings: Findings) -> None:
    """Eight rounds are two Latin squares of four lanes."""
    ratios = {each.of.metric: each.ratio for each in findings.control.comparisons}

    for metric in ("steady", "rate", "requests"):
        ratio = ratios[metric]
        assert ratio is not None
        assert ratio.centre == pytest.approx(1, abs=0.02)


def test_equal_lanes_are_equal(tmp_path: Path) -> None:
    suite = load_suite("smoke", FOUR_LANES, dataplanes=("none", "pyztunnel"))

    found = analyse(read(synthetic.record(tmp_path, suite, noise=0.004)))

    effects = [each.ratio for each in found.lane_effects if each.metric in {"steady", "rate", "requests"}]
    assert len(effects) == 3 * 4
    assert all(each.centre == pytest.approx(1, abs=0.02) for each in effects)


def test_one_lane_has_no_effect_of_its_own(tmp_path: Path) -> None:
    suite = load_suite("smoke", dataplanes=("none", "pyztunnel"))

    assert analyse(read(synthetic.record(tmp_path, suite))).lane_effects == ()
