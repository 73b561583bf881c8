"""Each metric of a scenario is read from its rows as its words say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analysis.contrasts import ALIKE
from harness.analysis.measures import METRICS, OPTIONAL, Measured, measure
from harness.analysis.text import quantity
from harness.load.records import ENDPOINT_FIELDS, REQUEST_FIELDS, STEP_FIELDS, TRANSFER_FIELDS
from harness.plan import scenarios

MS = 1_000_000


def found(stage: str, frame: pd.DataFrame, evidence: Any = None) -> dict[str, Measured]:
    return {each.metric: each for each in measure({stage: frame}, evidence or {})}


def requests(*rows: tuple[float, float, float, bool]) -> pd.DataFrame:
    """Due, started, first byte (ms), and whether it was right; the last byte comes 1 ms after the first."""
    frame = pd.DataFrame(0, index=range(len(rows)), columns=list(REQUEST_FIELDS))
    for index, (due, start, first, right) in enumerate(rows):
        frame.loc[index, ["intended_ns", "start_ns", "first_byte_ns", "end_ns", "ok"]] = [
            int(due * MS),
            int(start * MS),
            int(first * MS),
            int(first * MS) + MS,
            right,
        ]
    return frame


def test_an_open_loop_s_latency_counts_from_when_it_was_due_and_from_when_it_began() -> None:
    """Five requests, of which a stall held up all but the first."""
    rows = requests(*((due, max(due, 40), max(due, 40) + 2, True) for due in (10, 20, 30, 40, 50)))

    measured = found("rate", rows)

    assert measured["rate"].value == pytest.approx(12e-3)  # 32, 22, 12, 2, 2
    assert measured["rate.started"].value == pytest.approx(2e-3)
    assert measured["rate"].n == measured["rate.started"].n == 5


def test_what_failed_is_no_latency() -> None:
    rows = requests(*((due, due, due + 2, True) for due in range(5)), (6, 6, 900, False))

    assert found("storm", rows)["storm"].n == 5


def turns(stage: str, *spans: tuple[float, float], settle_ms: float = 0) -> dict[str, Any]:
    """Evidence of a stage's turns, ms."""
    told = [[int(start * MS), int(end * MS), True] for start, end in spans]
    return {"answers": {"stages": {stage: {"turns": told, "settle_ns": int(settle_ms * MS)}}}}


def test_bulk_is_all_bytes_over_all_turns_and_not_over_what_lies_between() -> None:
    rows = pd.DataFrame(
        [(0, 0, 10 * MS, 10**6, 1, True), (0, 90 * MS, 100 * MS, 10**6, 1, True)],
        columns=list(TRANSFER_FIELDS),
    )

    measured = found("upload", rows, turns("upload", (0, 10), (90, 100)))["upload"]

    assert measured.value == pytest.approx(8 * 2 * 10**6 / 0.02)


def test_answers_per_second_are_those_of_settled_turns() -> None:
    """Turns of 10 ms, of which the first 2 ms are left out: answers at 2, 5 and 9 ms into each."""
    rows = requests(*((0, at, at, True) for begin in (0, 50) for at in (begin + 1, begin + 4, begin + 8)))

    whole = found("requests", rows, turns("requests", (0, 10), (50, 60)))["requests"]
    settled = found("requests", rows, turns("requests", (0, 10), (50, 60), settle_ms=3))["requests"]

    assert whole.value == pytest.approx(6 / 0.020)
    assert settled.value == pytest.approx(4 / 0.014)


def test_a_turn_that_ended_before_it_settled_counts_for_nothing() -> None:
    rows = requests(*((0, at, at, True) for at in (0, 1, 2, 51, 52, 53, 54)))

    measured = found("requests", rows, turns("requests", (0, 4), (50, 60), settle_ms=5))["requests"]

    assert measured.value == pytest.approx(1 / 0.005)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(1000, 1), (2000, 1), (4000, 0)], 2000.0),
        ([(1000, 1), (2000, 0), (4000, 1)], 1000.0),
        ([(1000, 0)], None),
    ],
)
def test_the_knee_comes_from_the_steps_in_the_rows(
    steps: list[tuple[int, int]], expected: float | None
) -> None:
    rows = pd.DataFrame(0, index=range(2 * len(steps)), columns=list(STEP_FIELDS))
    rows["rate_mhz"] = np.repeat([rate * 1000 for rate, _ in steps], 2)
    rows["within"] = np.repeat([within for _, within in steps], 2)

    measured = found("knee", rows).get("knee")

    assert expected == (measured.value if measured else None)
    assert measured is None or measured.n == len(steps)


def test_the_busiest_endpoint_is_a_share_of_the_right_answers() -> None:
    rows = pd.DataFrame(0, index=range(10), columns=list(ENDPOINT_FIELDS))
    rows["end_ns"] = 1
    rows["endpoint"] = [0, 0, 0, 0, 1, 1, 2, 2, -1, -1]
    rows["ok"] = [1] * 8 + [0] * 2

    measured = found("endpoints", rows)["endpoints.busiest"]

    assert (measured.value, measured.n) == (0.5, 8)


def test_memory_is_of_all_proxies_while_the_fleet_was_held() -> None:
    memory = {"a": {"before": 1, "held": 60 * 2**20}, "b": {"before": 2, "held": 40 * 2**20}}
    evidence = {"answers": {"stages": {"idle-fleet-held": {"memory": memory}}}}

    measured = found("idle-fleet-held", requests((0, 0, 1, True)), evidence)["idle-fleet.memory"]

    assert quantity(measured.value, METRICS["idle-fleet.memory"].unit) == "100 MiB"
    assert "idle-fleet.memory" not in found("idle-fleet-held", requests((0, 0, 1, True)))


def test_every_metric_of_a_scenario_has_its_unit_in_words() -> None:
    for metric in scenarios.metrics():
        assert quantity(1.0, metric.unit)
        assert metric.name in METRICS


def test_a_metric_that_is_only_told_is_in_no_comparison() -> None:
    told = {name for name in OPTIONAL if not METRICS[name].compared}

    assert {"rate.started", "storm.rate", "endpoints.busiest", "idle-fleet.memory"} <= told
    assert not told & set(ALIKE)
