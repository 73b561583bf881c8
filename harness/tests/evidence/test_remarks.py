"""Noise and the generator's limits are said beside the status, never instead of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.evidence.limits import limits
from harness.evidence.model import CellStatus, CellVerdict, RemarkKind, SampleCounts
from harness.evidence.noise import disturbances, lateness, pauses, starved
from harness.evidence.sources import delay, host, sockets
from harness.evidence.sources.generator import Health
from harness.evidence.verdict import evaluate
from harness.tests.evidence.walk import CONFIGURATIONS, honest, moment

CALM = Health(rows=1000, scheduled=1000, elapsed_ns=10**9, cpu_ns=5 * 10**8, lag_p99_ns=10**5)


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (CALM, ""),
        (replace(CALM, cpu_ns=9 * 10**8), ""),
        (replace(CALM, cpu_ns=95 * 10**7), "95%"),
        (replace(CALM, rows=991), ""),
        (replace(CALM, rows=980), "98.0% of 1000"),
        (replace(CALM, lag_p99_ns=12_000_000), "12.0 ms late"),
        (replace(CALM, lag_p99_ns=None), ""),
        (replace(CALM, scheduled=0, rows=5, lag_p99_ns=12_000_000), ""),
    ],
    ids=[
        "calm",
        "at the limit",
        "core full",
        "nearly all",
        "schedule slipped",
        "late",
        "no look",
        "closed loop",
    ],
)
def test_generator(health: Health, said: str) -> None:
    remarks = limits({"rate": health})

    assert [remark.stage for remark in remarks] == (["rate"] if said else [])
    assert all(said in remark.reason and remark.kind is RemarkKind.LIMITED for remark in remarks)


QUIET = moment(10**12)
LATER = moment(10**12 + 10**9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"ticks": {**LATER["ticks"], "steal": 8}}, ""),
        ({"ticks": {**LATER["ticks"], "steal": 80}}, "stolen"),
        ({"reference_ns": 95_000}, "+15.9%"),
        ({"reference_ns": 70_000}, "-14.6%"),
        ({"reference_ns": 87_000}, ""),
        ({"throttled": 3}, "3 periods"),
        ({"boottime_ns": LATER["boottime_ns"] + 2 * 10**9}, "2000 ms"),
        ({"load_1": 40.0}, ""),
    ],
    ids=[
        "quiet",
        "usual steal",
        "steal",
        "slower",
        "faster",
        "usual drift",
        "throttled",
        "suspended",
        "load is recorded only",
    ],
)
def test_noise(change: Mapping[str, object], said: str) -> None:
    """F80: a suspended machine; such a cell is shown and enters no comparison."""
    readings = host.read(
        {"host": host.collect({**QUIET, "throttled": 0}, {**LATER, "throttled": 0, **change})}
    )

    remarks = disturbances(readings)

    assert len(remarks) == bool(said)
    kind = RemarkKind.DISTURBED if said == "2000 ms" else RemarkKind.NOISY
    assert all(said in remark.reason and remark.kind is kind for remark in remarks)


@pytest.mark.parametrize(
    ("longest_ms", "rtt_ms", "paused"),
    [(24, 0, False), (41, 0, True), (41, 4, False), (70, 4, True)],
    ids=["usual", "stood still", "far away", "stood still far away"],
)
def test_an_answer_that_kept_its_client_waiting_is_a_pause(
    longest_ms: int, rtt_ms: int, *, paused: bool
) -> None:
    """M17, F17: told from the samples, so by the same means of every data plane."""
    samples = SampleCounts(
        first={}, rows={}, failed={}, longest_ns={"rate": 1, "requests": longest_ms * 10**6}
    )

    remarks = pauses(samples, rtt_ms * 10**6)

    assert [("requests", RemarkKind.PAUSED)] * paused == [(each.stage, each.kind) for each in remarks]
    assert all(f"an answer took {longest_ms} ms" in each.reason for each in remarks)


def test_a_cell_with_a_pause_stays_valid_and_undisturbed() -> None:
    """What the system under test does is a result: leaving it out would be to choose."""
    case = honest(CONFIGURATIONS[4])

    verdict = evaluate(replace(case, samples=replace(case.samples, longest_ns={"requests": 10**9})))

    assert verdict.status is CellStatus.VALID
    assert [RemarkKind.PAUSED] == [each.kind for each in verdict.remarks]
    assert not verdict.noisy


@pytest.mark.parametrize(("waited_share", "said"), [(0.2, ""), (0.4, "waited for a core for 40%")])
def test_a_generator_that_waited_for_a_core_disturbs(waited_share: float, said: str) -> None:
    health = replace(CALM, waited_ns=round(CALM.elapsed_ns * waited_share))

    remarks = starved({"probe": health})

    assert len(remarks) == bool(said)
    assert all(said in each.reason and each.kind is RemarkKind.NOISY for each in remarks)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"late_ns": {"p50": 1_200_000, "p90": 0, "max": 0}}, "2.40 ms late at 16 ms"),
        ({"late_ns": None}, ""),
        ({"late_ns": None, "trips_ns": [16_000_000, 19_000_000, 20_000_000]}, "3.00 ms late at 16 ms"),
    ],
    ids=["forwarder in time", "forwarder late", "netem in time", "netem late"],
)
def test_a_distance_that_is_not_known_disturbs(changes: Mapping[str, object], said: str) -> None:
    """What is late is the machine; the delay that is in force is a check's matter."""
    document = honest(replace(CONFIGURATIONS[4], rtt_ms=16)).documents[delay.NAME]

    remarks = lateness(delay.read({delay.NAME: {**document, **changes}}))

    assert len(remarks) == bool(said)
    assert all(said in remark.reason and remark.kind is RemarkKind.DISTURBED for remark in remarks)


def test_a_counter_that_the_kernel_lists_late_was_zero() -> None:
    """IcmpMsg.InType3 is not in /proc/net/snmp before the first such packet."""
    before = {"pod": {"netstat": {"Tcp.InSegs": 1}}}
    after = {"pod": {"netstat": {"Tcp.InSegs": 1, "IcmpMsg.InType3": 2}}}

    found = sockets.read({sockets.NAME: sockets.collect(before, after)})

    assert found.growth("pod", "IcmpMsg.InType3") == 2


def test_noisy_and_limited_cell_stays_valid() -> None:
    case = honest(CONFIGURATIONS[4])
    documents = copy.deepcopy(dict(case.documents))
    documents["host"]["after"]["reference_ns"] = 200_000
    documents["generator"]["stages"]["requests"]["cpu_ns"] = 10**9

    verdict = evaluate(replace(case, documents=documents))

    assert verdict.status is CellStatus.VALID
    assert verdict.noisy
    assert verdict.limited
    assert verdict.limited_stages == {"requests"}


def test_verdict_survives_saving() -> None:
    case = honest(CONFIGURATIONS[4])
    documents = copy.deepcopy(dict(case.documents))
    documents["host"]["after"]["reference_ns"] = 200_000
    verdict = evaluate(replace(case, documents=documents))

    assert CellVerdict.from_document(verdict.document()) == verdict


def test_this_machine_can_be_read() -> None:
    before, after = host.sample(), host.sample()

    readings = host.read({"host": host.collect(before, after)})

    assert readings.after.monotonic_ns > readings.before.monotonic_ns
    assert readings.after.ticks["user"] >= readings.before.ticks["user"] > 0
    assert readings.before.reference_ns > 0
    assert abs(readings.suspended_ns) < 10**6
