"""The claims about effort and tuning follow from what runs recorded, in either direction."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import pytest

from harness.analysis.claims import Claim
from harness.analysis.findings import Findings, analyse
from harness.plan.model import Cell, Configuration
from harness.report.figures import all_figures
from harness.results.read import read
from harness.suite import Suite, load_suite
from harness.tests import synthetic

TUNED = [
    "rounds=6",
    "matrix=[{path=['cross-node'], dataplane=['none']}]",
    (
        "vary=[{factor='window_kib', values=[64]}, {factor='policies', values=[100]}, "
        "{factor='streams_per_tunnel', values=[1]}]"
    ),
]


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("smoke", TUNED, dataplanes=("none", "pyztunnel"))


def _truth(configuration: Configuration) -> dict[str, float]:
    """A small window halves bulk throughput; policies and streams change nothing."""
    medians = synthetic.truth(configuration)
    return {**medians, "transfer": medians["transfer"] / (2 if configuration.window_kib == 64 else 1)}


@pytest.fixture(scope="module")
def findings(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return analyse(read(synthetic.record(tmp_path_factory.mktemp("runs"), suite, truth=_truth)))


def _claim(findings: Findings, number: int) -> Claim:
    return findings.claims[number - 1]


def test_tuning_is_told_factor_by_factor(findings: Findings) -> None:
    claim = _claim(findings, 12)

    assert claim.verdict == "holds if"
    assert "HTTP/2 windows" in claim.because
    assert claim.because.endswith("no effect is shown of number of policies, streams per tunnel")
    assert any("bulk throughput" in line and "costs" in line for line in claim.figures)


def test_streams_show_in_the_handshakes_of_the_claim_on_reuse(tmp_path: FilePath) -> None:
    both = [TUNED[0], TUNED[2].replace("[{", "[{factor='reuse', values=['off']}, {", 1)]
    suite = load_suite("smoke", both, dataplanes=("none", "pyztunnel"))

    claim = _claim(analyse(read(synthetic.record(tmp_path, suite, truth=_truth))), 7)

    assert any(line.startswith("at most 1 streams a tunnel: ") for line in claim.figures)


def test_each_varied_factor_and_each_stage_has_its_figure(findings: Findings) -> None:
    names = {figure.name for figure in all_figures(findings)}

    assert {"policies", "streams-per-tunnel", "window-kib"} <= names
    assert {"cpu-requests", "cpu-transfer", "cpu-probe", "kernel-conntrack"} <= names
    assert "kernel-rules" not in names  # rules were not varied: the table of evidence has the one number


def test_costs_are_a_family_of_their_own(findings: Findings) -> None:
    """What processes used must not take from the intervals of latency."""
    latency = {each.of.metric for each in findings.factors}

    assert findings.costs
    assert not any(metric.startswith(("cpu.", "switches.", "memory.")) for metric in latency)


def test_later_packets_hold_fewer_switches(findings: Findings) -> None:
    claim = _claim(findings, 10)

    assert claim.verdict == "holds"
    assert any("context switches" in line for line in claim.figures)
    assert any("CPU" in line for line in claim.figures)


def _switches(extra_first: int) -> Any:
    """Later requests that take as many context switches as first packets, or more."""

    def spoil(_cell: Cell, evidence: dict[str, Mapping[str, Any]]) -> None:
        document = copy.deepcopy(dict(evidence["cpu"]))
        for component in document["stages"]["rate"]["after"]["components"].values():
            component["voluntary"] += extra_first
        evidence["cpu"] = document

    return spoil


def test_later_packets_that_take_more_switches_refute_the_claim(tmp_path: FilePath, suite: Suite) -> None:
    """A lie told to the claim: it must not hold because it usually does."""
    # 9 switches a first packet in the walk; 40 rows a cell at the fixed rate of smoke
    found = analyse(read(synthetic.record(tmp_path, suite, truth=_truth, spoil=_switches(20))))

    compared = [
        each
        for each in found.costs
        if each.factor == "first-packet" and each.of.metric.startswith("switches.")
    ]
    assert _claim(found, 10).verdict in {"does not hold", "not measured in this run"}
    assert not any(each.word.value == "costs" for each in compared)
