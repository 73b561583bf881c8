"""Plans: complete rounds, orders that can be repeated, predicted time, JSON and back."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plan.document import from_document, to_document
from harness.plan.model import Cell, Configuration, Interception, Load, Path, Plan, Reuse
from harness.plan.order import plan
from harness.plan.predict import Costs, predict
from harness.suite import load_suite

SUITE = load_suite("full", dataplanes=("none", "pyztunnel"))


@settings(max_examples=40, deadline=None)
@given(
    rounds=st.integers(1, 15), seed=st.integers(0, 2**63 - 1), count=st.integers(1, len(SUITE.configurations))
)
def test_every_round_holds_each_bout_once(rounds: int, seed: int, count: int) -> None:
    suite = replace(SUITE, rounds=rounds, most_rounds=rounds, configurations=SUITE.configurations[:count])

    found = plan(suite, seed=seed)

    assert [cell.index for cell in found.cells] == list(range(len(found.cells)))
    groups = [
        {
            bout.number: [cell.configuration for cell in bout.cells]
            for bout in found.bouts
            if bout.round == number
        }
        for number in range(1, rounds + 1)
    ]
    assert all(group == groups[0] for group in groups)
    assert len(found.bouts) == rounds * len(groups[0])
    assert [cell.round for cell in found.cells] == sorted(cell.round for cell in found.cells)
    assert len({cell.name for cell in found.cells}) == len(found.cells)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), squares=st.integers(1, 3))
def test_each_configuration_stands_on_each_lane_equally_often(seed: int, squares: int) -> None:
    """A Latin square, in bouts that fill the lanes and in those that leave some free."""
    lanes = plan(SUITE, seed=seed).lanes
    found = plan(replace(SUITE, most_rounds=squares * lanes), seed=seed)

    stood: Counter[tuple[int, str, int]] = Counter()
    for cell in found.cells:
        stood[cell.bout, cell.configuration.key, cell.lane] += 1
    assert set(stood.values()) == {squares}
    for bout in found.bouts:
        assert len({cell.lane for cell in bout.cells}) == len(bout.cells)


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    short = plan(replace(SUITE, most_rounds=3), seed=4)
    assert plan(replace(SUITE, most_rounds=5), seed=4).cells[: len(short.cells)] == short.cells


def test_same_seed_same_order_and_another_seed_another() -> None:
    assert plan(SUITE, seed=1) == plan(SUITE, seed=1)
    assert plan(SUITE, seed=1).cells != plan(SUITE, seed=2).cells


def test_rounds_have_orders_of_their_own() -> None:
    found = plan(SUITE, seed=1)
    first, second = (
        [cell.configuration for cell in found.cells if cell.round == number] for number in (1, 2)
    )
    assert first != second


def test_seed_is_the_argument_then_the_suite_s_then_drawn() -> None:
    assert plan(replace(SUITE, seed=5), seed=6).seed == 6
    assert plan(replace(SUITE, seed=5)).seed == 5
    assert plan(replace(SUITE, seed=None)).seed != plan(replace(SUITE, seed=None)).seed


def test_document_and_back() -> None:
    found = plan(SUITE, seed=3)

    assert from_document(json.loads(json.dumps(to_document(found)))) == found


def test_prediction_is_the_load_plus_the_costs() -> None:
    nothing = Costs(
        restart_s=0,
        switch_s=0,
        evidence_s=0,
        stage_s=0,
        probe_cold_s=0,
        probe_warm_s=0,
        probe_new_s=0,
        filler_rule_s=0,
    )
    load = replace(
        SUITE.load,
        probes=10,
        gap_ms=2,
        later_requests=5,
        later_interval_ms=1,
        rate_hz=1,
        rate_s=0.5,
        requests_s=0.25,
        transfer_s=0.125,
    )
    cold_and_warm = Configuration(
        path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT
    )
    cold_only = replace(cold_and_warm, reuse=Reuse.OFF)

    def seconds(load: Load, costs: Costs, *configurations: Configuration, rounds: int = 1) -> float:
        cells = tuple(
            Cell(index=0, round=number, bout=0, lane=lane, configuration=each)
            for number in range(1, rounds + 1)
            for lane, each in enumerate(configurations, start=1)
        )
        made = Plan(suite="", seed=1, rounds=rounds, load=load, cells=cells, predicted_s=0)
        return predict(made, costs)

    unpaced = replace(load, rate_hz=0)
    assert seconds(load, nothing, cold_and_warm) == pytest.approx(0.14 + 0.875)
    assert seconds(load, nothing, cold_only) == pytest.approx(0.07 + 0.875)
    assert seconds(load, nothing, cold_only, cold_and_warm) == pytest.approx(0.21 + 1.75)
    assert seconds(unpaced, nothing, cold_only) == pytest.approx(0.07 + 0.375)
    costs = replace(nothing, switch_s=1, probe_cold_s=0.1, stage_s=0.5, filler_rule_s=0.001, restart_s=0.2)
    far = replace(cold_only, rtt_ms=10)  # 4 trips, 5 later ones and the close; 12 across the line alone
    assert seconds(unpaced, nothing, far) == pytest.approx(0.02 + 1.0 + 0.12 + 0.375)
    filled = replace(cold_only, filler_rules=1000)
    assert seconds(load, costs, filled, rounds=2) == pytest.approx(2 * (0.945 + 1 + 1 + 2 + 1 + 0.2))


def test_quick_fits_into_four_minutes() -> None:
    quick = load_suite("quick", dataplanes=("none", "pyztunnel"))
    least = plan(replace(quick, most_rounds=quick.rounds), seed=1)
    assert least.predicted_s + 20 < 240
    assert quick.minutes * 60 + 30 <= 240
