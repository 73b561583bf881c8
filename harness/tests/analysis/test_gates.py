"""Thresholds end as the intervals say, and the exit code as they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analysis.findings import Findings, analyse
from harness.cli import obey
from harness.errors import ExitCode
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic

DATAPLANES = ("none", "pyztunnel")


def measured(root: Path, *gates: str, rounds: int = 6) -> Path:
    texts = ", ".join(f'"{each}"' for each in gates)
    overrides = [f"rounds={rounds}", "load.first_packet.probes=20", f"thresholds.gates=[{texts}]"]
    return synthetic.record(root, load_suite("smoke", overrides, dataplanes=DATAPLANES), noise=0.004)


GATES = {
    "first_packet.warm.p50 < 1s": "met",
    "first_packet.warm.p50 < 1us": "missed",
    "first_packet.warm.p50 > 1us": "met",
    "first_packet.warm.p999 < 1s": "open",  # too few samples
    "first_packet.new.p50 < 1s": "open",  # the default configuration has tunnels
    "requests.p50 > 1/s": "met",
    "ratio(conntrack=off, on).p50 < 1.5": "met",
    "ratio(reuse=on, off).first_packet.warm.p50 > 1.5": "missed",
    "ratio(mesh=off, on).p50 > 1": "missed",
    "ratio(mesh=on, off).p50 > 1": "met",
}


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return analyse(read(measured(tmp_path_factory.mktemp("results"), *GATES)))


@pytest.mark.parametrize(("text", "outcome"), GATES.items())
def test_a_threshold_ends_as_its_interval_says(findings: Findings, text: str, outcome: str) -> None:
    found = [each for each in findings.gates if each.text == text]

    assert {each.outcome.value for each in found} == {outcome}
    assert all(each.because for each in found)


def test_an_interval_that_holds_the_limit_decides_nothing(findings: Findings, tmp_path: Path) -> None:
    measure = findings.measure(findings.default, "first.warm")
    assert measure is not None
    found = measure.percentiles["p50"]
    assert found is not None
    at = f"first_packet.warm.p50 < {found.value * 1e6:.0f}us"

    again = analyse(read(measured(tmp_path, at)))

    assert [each.outcome.value for each in again.gates] == ["open"]
    assert "holds the limit" in again.gates[0].because


@pytest.mark.parametrize(
    ("gate", "rounds", "code"),
    [
        ("first_packet.warm.p50 < 1s", 6, ExitCode.OK),
        ("first_packet.warm.p50 < 1us", 6, ExitCode.THRESHOLD),
        ("first_packet.warm.p50 < 1s", 3, ExitCode.INVALID),
    ],
)
def test_the_exit_code_follows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, gate: str, rounds: int, code: ExitCode
) -> None:
    run = measured(tmp_path, gate, rounds=rounds)
    junit = tmp_path / "junit.xml"

    assert obey(["report", str(run), "--junit", str(junit), "--annotate"]) == code
    captured = capsys.readouterr()
    assert gate in captured.out
    assert ("::error" in captured.err) == (code == ExitCode.THRESHOLD)
    assert gate.replace("<", "&lt;") in junit.read_text()
    assert gate.replace("<", "&lt;") in (run / "report.html").read_text()
    assert "## Thresholds" in (run / "summary.md").read_text()
