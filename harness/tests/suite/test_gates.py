"""Thresholds are understood as written, and what no run has is an error with its place."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from harness.analysis.measures import METRICS as MEASURED
from harness.plan.pairs import FACTORS as COMPARED
from harness.suite import SuiteError, load_suite
from harness.suite.gates import FACTORS, METRICS, Unknown, gate

DATAPLANES = ("none", "pyztunnel")


WRITTEN = {
    "first_packet.warm.p99 < 3ms": {"metric": "first.warm", "statistic": "p99", "limit": 0.003},
    "steady.p50<250us": {"metric": "steady", "limit": 250e-6},
    "requests.p50 > 5000req/s": {"metric": "requests", "below": False, "limit": 5000.0},
    "transfer.p50 > 1.5 Gb/s": {"metric": "transfer", "below": False, "limit": 1.5e9},
    "ratio(conntrack=off, on).p50 < 1.1": {
        "metric": "steady",
        "limit": 1.1,
        "factor": "conntrack",
        "inverted": True,
    },
    "cpu.first_packet.warm.p50 < 4ms": {"metric": "cpu.first.warm", "limit": 0.004},
    "switches.later.p50 < 5": {"metric": "switches.later", "limit": 5.0},
    "memory.resident.p50 < 150MB": {"metric": "memory.resident", "limit": 150e6},
    "ratio(reuse=on,off).first_packet.warm.p50 < 0.8": {
        "metric": "first.warm",
        "limit": 0.8,
        "factor": "reuse",
    },
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_gate_is_understood(text: str) -> None:
    usual = {"text": text, "statistic": "p50", "below": True, "factor": "", "inverted": False}
    assert asdict(gate(text)) == usual | WRITTEN[text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "METRIC.STATISTIC"),
        ("warm is fast", "METRIC.STATISTIC"),
        ("first_packet.wram.p99 < 3ms", "unknown metric 'first_packet.wram'"),
        ("first_packet.warm.p95 < 3ms", "unknown statistic 'p95'"),
        ("requests.p99 > 3/s", "unknown statistic 'p99'"),
        ("first_packet.warm.p99 < 3", "found no unit"),
        ("first_packet.warm.p99 < 3Gb/s", "found the unit 'Gb/s'"),
        ("switches.later.p50 < 5ms", "found the unit 'ms'"),
        ("cpu.later.p99 < 1ms", "unknown statistic 'p99'"),
        ("ratio(conntrack=off, on).p50 < 1.1ms", "a ratio has no unit"),
        ("ratio(colour=off, on).p50 < 1.1", "unknown factor 'colour'"),
        ("ratio(reuse=off, off).p50 < 1.1", "found levels 'off' and 'off'"),
    ],
)
def test_what_no_run_has_is_refused(text: str, said: str) -> None:
    with pytest.raises(Unknown, match="allowed: ") as found:
        gate(text)
    assert said in str(found.value)


def test_every_word_is_one_that_the_analysis_knows() -> None:
    assert set(METRICS.values()) == set(MEASURED)
    assert set(FACTORS) <= {factor.name for factor in COMPARED}


def test_a_suite_error_names_the_place_and_the_nearest_word() -> None:
    with pytest.raises(SuiteError) as found:
        load_suite("smoke", ['thresholds.gates=["first_packet.wram.p99 < 3ms"]'], dataplanes=DATAPLANES)
    assert "thresholds.gates" in str(found.value)
    assert "did you mean 'first_packet.warm'?" in str(found.value)


def test_a_gate_does_not_change_what_is_measured() -> None:
    plain = load_suite("smoke", dataplanes=DATAPLANES)
    gated = load_suite("smoke", ['thresholds.gates=["steady.p50 < 1ms"]'], dataplanes=DATAPLANES)
    assert gated.thresholds.gates == ("steady.p50 < 1ms",)
    assert gated.hash == plain.hash
