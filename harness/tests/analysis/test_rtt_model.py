"""Distance tells round trips from computing, and claims a number only where no other is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

from harness.analysis.compare import Side
from harness.analysis.findings import Findings, analyse
from harness.analysis.rtt_model import RttModel, fit, rtt_model
from harness.plan.model import Configuration, Interception, Path
from harness.report.figures import all_figures
from harness.report.markdown import markdown
from harness.report.terminal import summary
from harness.results.read import read
from harness.results.write import RunWriter
from harness.suite import load_suite
from harness.tests import synthetic

DISTANCES = (4, 8, 16, 32)
NOTHING = Configuration(path=Path.CROSS_NODE, dataplane="none", interception=Interception.NONE)
MESH = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)


def trips(own_us: float = 200, factor: float = 1.0, jitter_us: float = 20) -> list[dict[str, Any]]:
    random = np.random.default_rng(3)
    return [
        {
            "from": "a",
            "to": to,
            "kind": "forwarder" if rtt_ms else "none",
            "rtt_ms": rtt_ms,
            "trips_ns": [
                round(1e6 * factor * rtt_ms + 1e3 * (own_us if rtt_ms else 15) + 1e3 * late)
                for late in random.normal(0, jitter_us, 25)
            ],
        }
        for to in ("b", "outside")
        for rtt_ms in (0, *DISTANCES)
    ]


def latencies(
    configuration: Configuration,
    metric: str,
    paid: float,
    *,
    rounds: int = 7,
    noise_s: float = 5e-5,
    distances: Sequence[int] = DISTANCES,
    own_s: float = 200e-6,
) -> tuple[list[Configuration], dict[Side, dict[int, float]]]:
    """Rounds in which each distance is paid for so many times, beside 3 ms of computing."""
    random = np.random.default_rng(11)
    moved = [replace(configuration, rtt_ms=rtt_ms) for rtt_ms in distances]
    found = {
        Side(configuration=each.key, metric=metric): {
            number: 3e-3 + paid * (own_s + each.rtt_ms / 1000) + random.normal(0, noise_s)
            for number in range(1, rounds + 1)
        }
        for each in moved
    }
    return moved, found


def model(*arguments: Any, line: list[dict[str, Any]] | None = None, **keywords: Any) -> RttModel:
    found = rtt_model(trips() if line is None else line, *latencies(*arguments, **keywords))
    assert found is not None
    return found


def slope_of(found: RttModel, metric: str) -> Any:
    return next(each for each in found.slopes if each.metric == metric)


@pytest.mark.parametrize(
    ("configuration", "metric", "paid"),
    [(NOTHING, "first.new", 2), (MESH, "first.cold", 4), (MESH, "first.warm", 2), (MESH, "steady", 1)],
)
def test_the_slope_is_the_number_of_round_trips(configuration: Configuration, metric: str, paid: int) -> None:
    slope = slope_of(model(configuration, metric, paid), metric)

    assert (paid, paid, "holds") == (slope.found, slope.expected, slope.verdict)
    assert abs(slope.trips.centre - paid) < 0.02
    assert abs(slope.intercept_s - 3e-3) < 3e-4


def test_the_distance_is_the_measured_one_and_not_the_one_asked_for() -> None:
    """A line that stretches what is asked for by a tenth makes packets no more expensive in trips."""
    stretched = trips(own_us=0, factor=1.1)
    moved, found = latencies(MESH, "first.cold", 4 * 1.1, own_s=0)

    slope = slope_of(rtt_model(stretched, moved, found), "first.cold")  # type: ignore[arg-type]  # not None

    assert 4 == slope.found
    assert abs(slope.trips.centre - 4) < 0.02


def test_another_number_than_expected_is_no_hold() -> None:
    """A proxy that sent its request with the CONNECT would pay 3."""
    slope = slope_of(model(MESH, "first.cold", 3), "first.cold")

    assert (3, "does not hold") == (slope.found, slope.verdict)


@pytest.mark.parametrize(
    "changes",
    [{"noise_s": 12e-3}, {"rounds": 5}, {"distances": (4, 32)}, {"rounds": 0}],
    ids=["an interval with a neighbour in it", "too few rounds", "too few distances", "nothing measured"],
)
def test_nothing_is_claimed_without_grounds(changes: dict[str, Any]) -> None:
    slope = slope_of(model(MESH, "first.cold", 4, **changes), "first.cold")

    assert (None, "open") == (slope.found, slope.verdict)


def test_a_round_without_one_distance_still_counts_and_an_outlier_bends_no_line() -> None:
    moved, found = latencies(MESH, "first.cold", 4)
    sides = list(found)
    del found[sides[1]][2]
    found[sides[2]][5] += 0.05

    slope = slope_of(rtt_model(trips(), moved, found), "first.cold")  # type: ignore[arg-type]  # not None

    assert (4, 7) == (slope.found, slope.trips.rounds)


def test_the_line_by_itself_is_fitted_with_what_it_misses() -> None:
    line = fit(trips(own_us=300, factor=1.02))

    assert line is not None
    assert abs(line.own_s - 300e-6) < 5e-5
    assert abs(line.factor - 1.02) < 0.002
    assert line.error_s < 5e-5
    assert abs(line.rtt_s(16) - 16.62e-3) < 1e-4
    assert {0, *DISTANCES} == {leg.rtt_ms for leg in line.legs}


def test_a_run_that_was_moved_nowhere_has_no_model() -> None:
    assert rtt_model([], [MESH], {}) is None
    assert fit([each for each in trips() if each["rtt_ms"] in {0, 4}]) is None


def far_truth(configuration: Configuration) -> Mapping[str, float]:
    rtt_s = configuration.rtt_ms / 1000
    paid = {"first.cold": 4, "first.warm": 2, "first.new": 2, "steady": 1}
    return {
        metric: value + paid.get(metric, 0) * rtt_s
        for metric, value in synthetic.truth(configuration).items()
    }


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    changes = [
        "rounds=6",
        "matrix[0].rtt_ms=[4, 8, 32]",
        "matrix[1].rtt_ms=[4, 8, 32]",
        "matrix[2].rtt_ms=[4]",
        "load.requests.seconds=0.1",  # synthetic runs have them always
        "load.transfer.seconds=0.1",
    ]
    suite = load_suite("rtt-model", changes, dataplanes=("none", "pyztunnel"))
    root = tmp_path_factory.mktemp("results")
    folder = synthetic.record(
        root, suite, truth=far_truth, weather=0.001, noise=0.001, trips=trips(own_us=0, jitter_us=1)
    )
    return analyse(read(folder))


def test_a_run_s_findings_hold_every_slope(findings: Findings) -> None:
    assert findings.rtt_model is not None
    found = {
        (each.configuration.key, each.metric): (each.found, each.verdict)
        for each in findings.rtt_model.slopes
    }

    assert {(1, "holds"), (2, "holds"), (4, "holds"), (None, "open")} == set(found.values())
    for level in ("redirect", "tproxy", "tproxy-notrack"):
        assert (4, "holds") == found[f"cross-node.pyztunnel.{level}.reuse-on", "first.cold"]
        assert (2, "holds") == found[f"cross-node.pyztunnel.{level}.reuse-on", "first.warm"]
    assert (2, "holds") == found["cross-node.none", "first.new"]
    assert (None, "open") == found["out-of-mesh.pyztunnel.redirect.reuse-on", "first.new"]
    assert len(found) == len(findings.document()["rtt_model"]["slopes"])


def test_it_is_told_wherever_a_run_is_told(findings: Findings) -> None:
    question = "How many round trips does the first packet take?"
    (figure,) = [each for each in all_figures(findings) if each.question == question]

    assert findings.answer[0].question == question
    assert findings.rtt_model is not None
    assert len(findings.answer[0].lines) == len(findings.rtt_model.slopes)
    assert len(figure.rows) == sum(each.trips is not None for each in findings.rtt_model.slopes)
    told = "cross-node pyztunnel, first packet, cold 4 ("
    assert told in figure.reading
    assert told in markdown(findings)
    assert told in " ".join(summary(findings, colour=False, width=100).split())


def test_figures_say_what_they_show_and_their_tables_hold_it(findings: Findings) -> None:
    mine = [each for each in all_figures(findings) if each.name.startswith("rtt-")]

    assert ["rtt-model", "rtt-lines-cross-node", "rtt-lines-out-of-mesh", "rtt-line"] == [
        each.name for each in mine
    ]
    for figure in mine:
        numbers = [value for row in figure.rows for value in row if isinstance(value, float | int)]
        looks = [(trace.marker.symbol, trace.line.dash) for trace in figure.plot.data]
        assert len(set(looks)) == len(looks)
        assert "n = " in figure.caption
        assert all(len(row) == len(figure.columns) for row in figure.rows)
        for trace in figure.plot.data:
            assert all(min(abs(value - each) for each in numbers) < 1e-9 for value in trace.x)


def test_claims_rest_on_it(findings: Findings) -> None:
    reuse, tracked = findings.claims[6], findings.claims[4]

    assert "holds if" == reuse.verdict
    assert "first packet, cold: 4 round trips over distance" in reuse.figures
    assert {
        "first packet, cold, conntrack on: 4 round trips over distance",
        "first packet, cold, conntrack off: 4 round trips over distance",
    } <= set(tracked.figures)


def test_a_session_after_the_first_adds_to_the_line_s_measure(tmp_path: FilePath) -> None:
    suite = load_suite("rtt-model", ["rounds=1"], dataplanes=("none", "pyztunnel"))
    folder = synthetic.record(tmp_path, suite, trips=trips(), cells=0)
    stored = read(folder)

    writer = RunWriter.go_on(folder, stored.manifest, stored.plan, stored.measured)
    writer.delay(trips())
    writer.close()

    assert 2 * len(stored.delay) == len(read(folder).delay) == 2 * len(trips())
