"""Scenarios: found by name, whole, and no more than a load asks for; the search for the knee."""

from __future__ import annotations

import pytest

from harness.plan import scenarios
from harness.plan.document import load_from_document, load_to_document
from harness.plan.model import Arrivals
from harness.plan.scenarios.knee import Step, highest, next_rate
from harness.plan.scenarios.model import How
from harness.suite import SuiteError, load_suite

DATAPLANES = ("none", "pyztunnel", "envoy")


def test_every_scenario_of_the_issue_has_its_file() -> None:
    assert {
        "requests",
        "connects",
        "transfer",
        "upload",
        "both-ways",
        "chatty",
        "storm",
        "under-load",
        "knee",
        "endpoints",
        "idle-fleet",
        "rate",
    } <= set(scenarios.known())


@pytest.mark.parametrize("name", scenarios.known())
def test_a_scenario_is_whole(name: str) -> None:
    module = scenarios.known()[name]

    assert module.__doc__
    assert {metric.stage for metric in module.METRICS} <= set(module.SAMPLES)
    assert all(metric.how is not How.PROBE for metric in module.METRICS)
    assert module.KEYS is None or "seconds" in module.KEYS


def test_orders_stages_and_metrics_are_each_scenario_s_own() -> None:
    modules = scenarios.known().values()

    assert len({module.ORDER for module in modules}) == len(modules)
    assert len(scenarios.samples()) == sum(len(module.SAMPLES) for module in modules)
    assert len({metric.name for metric in scenarios.metrics()}) == len(scenarios.metrics())


def test_a_scenario_that_a_suite_does_not_name_is_left_out() -> None:
    suite = load_suite("smoke", dataplanes=DATAPLANES)

    assert suite.load.scenarios == {}
    assert [stage.name for stage in scenarios.stages(suite.load)] == ["rate", "requests", "transfer"]


def test_the_scenarios_suite_runs_all_that_need_no_service() -> None:
    load = load_suite("scenarios", dataplanes=DATAPLANES).load
    flat = [each for stage in scenarios.stages(load) for each in (stage, stage.beside) if each]

    left_out = {"rtt", "requests-alone", "transfer-alone", "endpoints"}
    assert {stage.name for stage in flat} == set(scenarios.samples()) - left_out


def test_keys_of_a_scenario_are_checked_as_any_others() -> None:
    suite = load_suite("smoke", ["load.storm={connections=5}"], dataplanes=DATAPLANES)
    assert suite.load.scenario("storm") == {"connections": 5, "seconds": 0.5}

    with pytest.raises(SuiteError, match=r"load\.storm\.conections"):
        load_suite("smoke", ["load.storm={conections=5}"], dataplanes=DATAPLANES)
    with pytest.raises(SuiteError, match=r"load\.storm\.connections"):
        load_suite("smoke", ["load.storm={connections=0}"], dataplanes=DATAPLANES)


def test_a_load_survives_saving_and_an_old_one_is_what_it_was() -> None:
    plain = load_suite("smoke", dataplanes=DATAPLANES).load
    rich = load_suite(
        "smoke",
        ["load.knee.p99_ms=3", "load.workers=2", "load.rate.arrivals=poisson"],
        dataplanes=DATAPLANES,
    ).load

    assert not {"scenarios", "workers", "rate_arrivals"} & set(load_to_document(plain))
    assert load_from_document(load_to_document(plain)) == plain
    assert load_from_document(load_to_document(rich)) == rich
    assert (rich.workers, rich.rate_arrivals) == (2, Arrivals.POISSON)


def tried(*steps: tuple[float, bool]) -> list[Step]:
    return [Step(rate_hz=rate, within=within) for rate, within in steps]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], 1000),
        ([(1000, True)], 2000),
        ([(1000, True), (2000, True)], 4000),
        ([(1000, True), (2000, True), (4000, True)], 6000),  # no further than the highest
        ([(1000, True), (2000, True), (4000, True), (6000, True)], None),
        ([(1000, True), (2000, False)], (1000 * 2000) ** 0.5),
        ([(1000, True), (2000, False), (1414, True)], (1414 * 2000) ** 0.5),
        ([(1000, True), (1090, False)], None),  # narrow enough
        ([(1000, False)], 500),
        ([(1000, False), (500, True)], (500 * 1000) ** 0.5),
        ([(1000, False), (500, False)], 250),
        ([(1000, False), (500, False), (250, False)], None),  # not even a quarter of the first
        ([(1000, True), (2000, False), (4000, True)], (1000 * 2000) ** 0.5),  # luck above a miss counts not
        ([(1000, True), (2000, False), (1414, True), (1682, True), (1834, True), (1900, False)], None),
    ],
)
def test_the_search_takes_the_next_rate(steps: list[tuple[float, bool]], expected: float | None) -> None:
    found = next_rate(tried(*steps), from_hz=1000, to_hz=6000, steps=8)

    assert found == (None if expected is None else pytest.approx(expected))


def test_the_search_ends_with_its_steps() -> None:
    assert next_rate(tried((1000, True), (2000, True)), from_hz=1000, to_hz=64000, steps=2) is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], 0),
        ([(1000, False)], 0),
        ([(1000, True), (2000, True)], 2000),
        ([(1000, True), (2000, False), (4000, True)], 1000),
    ],
)
def test_the_knee_is_the_highest_that_held_below_the_lowest_that_did_not(
    steps: list[tuple[float, bool]], expected: float
) -> None:
    assert highest(tried(*steps)) == expected
