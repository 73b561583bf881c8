"""Plans: complete rounds, orders that can be repeated, predicted time, JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plan.document import from_document, to_document
from harness.plan.model import Configuration, Interception, Path, Reuse
from harness.plan.order import plan
from harness.plan.predict import Costs, predict
from harness.suite import load_suite

SUITE = load_suite("full", dataplanes=("none", "pyztunnel"))


@settings(max_examples=40, deadline=None)
@given(
    rounds=st.integers(1, 30), seed=st.integers(0, 2**63 - 1), count=st.integers(1, len(SUITE.configurations))
)
def test_every_round_holds_each_configuration_once(rounds: int, seed: int, count: int) -> None:
    suite = replace(SUITE, rounds=rounds, configurations=SUITE.configurations[:count])

    found = plan(suite, seed=seed)

    assert [cell.index for cell in found.cells] == list(range(rounds * count))
    for number in range(1, rounds + 1):
        block = [cell.configuration for cell in found.cells if cell.round == number]
        assert sorted(each.key for each in block) == sorted(each.key for each in suite.configurations)
    assert [cell.round for cell in found.cells] == sorted(cell.round for cell in found.cells)
    assert len({cell.name for cell in found.cells}) == len(found.cells)


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

    assert abs(predict(cold_and_warm, load, nothing) - (0.14 + 0.875)) < 1e-9
    assert abs(predict(cold_only, load, nothing) - (0.07 + 0.875)) < 1e-9
    assert abs(predict(cold_only, replace(load, rate_hz=0), nothing) - (0.07 + 0.375)) < 1e-9
    with_costs = replace(nothing, switch_s=1, probe_cold_s=0.1, stage_s=0.5, filler_rule_s=0.001)
    far = replace(cold_only, rtt_ms=10)  # 4 trips, 5 later ones and the close; 12 across the line alone
    assert abs(predict(far, replace(load, rate_hz=0), nothing) - (0.02 + 1.0 + 0.12 + 0.375)) < 1e-9
    filled = replace(cold_only, filler_rules=1000)
    assert abs(predict(filled, load, with_costs) - (0.945 + 1 + 1 + 2 + 1)) < 1e-9


def test_quick_fits_into_four_minutes() -> None:
    quick = plan(load_suite("quick", dataplanes=("none", "pyztunnel")), seed=1)
    assert quick.predicted_s / len(quick.cells) < 2.3
    assert quick.predicted_s < 215
