"""How `run` and `report` end: findings saved and printed, CI told, and the exit code that they amount to."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.findings import Findings
from harness.analysis.gates import Outcome
from harness.cli._output import emit, note, say
from harness.errors import ExitCode
from harness.report import ci, save, summary


def tell(findings: Findings, *, json: bool, junit: Path | None, annotate: bool) -> ExitCode:
    """Save and print what was found.

    Returns:
        What the findings amount to.
    """
    page = save(findings, findings.run.folder)
    if json:
        emit(findings.document())
        note(f"report: {page}")
    else:
        say(summary(findings))
        say(f"report: {page}")
    cases = list(ci.cases_of_gates(findings))
    if junit:
        junit.write_text(ci.junit(f"ambientbench {findings.run.manifest.run}", cases), encoding="utf-8")
    if annotate:
        for line in ci.github(cases):
            note(line)
    return exit_code(findings)


def exit_code(findings: Findings) -> ExitCode:
    """A missed threshold before an invalid cell: it was missed with the valid ones."""
    if findings.gates_that(Outcome.MISSED):
        return ExitCode.THRESHOLD
    if findings.invalid or findings.gates_that(Outcome.OPEN):
        return ExitCode.INVALID
    return ExitCode.OK
