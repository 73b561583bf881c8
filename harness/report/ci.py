"""What CI systems read: JUnit XML, GitHub's annotations, markdown that fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree as ET

from harness.analysis.across import Across, Change
from harness.analysis.findings import Findings
from harness.analysis.gates import Outcome
from harness.analysis.measures import METRICS
from harness.evidence.model import CellStatus

MARKDOWN_CAP = 900_000
"""Bytes. GitHub refuses a step's summary beyond 1 MiB, and shows none of it then."""
ANNOTATIONS = 10
"""GitHub shows so many errors of one step and drops the rest."""


class Ending(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Undecided: neither a pass nor a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that was judged."""

    group: str
    name: str
    ending: Ending
    because: str


_ENDINGS = {
    Change.WORSE: Ending.FAILED,
    Change.OPEN: Ending.SKIPPED,
    Change.BETTER: Ending.PASSED,
    Change.SAME: Ending.PASSED,
}


def cases_of_changes(found: Across) -> Iterator[Case]:
    """Each metric of a comparison as a case."""
    for each in found.moved:
        yield Case(
            group=each.side.configuration,
            name=f"{METRICS[each.side.metric].title}, against {found.reference}",
            ending=_ENDINGS[each.change],
            because=each.comparison.because,
        )


_OUTCOMES = {
    Outcome.MET: Ending.PASSED,
    Outcome.MISSED: Ending.FAILED,
    Outcome.OPEN: Ending.SKIPPED,
}


def cases_of_gates(findings: Findings) -> Iterator[Case]:
    """Each threshold of a run's suite as a case, and each cell that is invalid."""
    for each in findings.gates:
        yield Case(
            group=each.configuration, name=each.text, ending=_OUTCOMES[each.outcome], because=each.because
        )
    for cell in findings.cells:
        if cell.verdict.status is CellStatus.INVALID:
            yield Case(
                group=cell.configuration.key,
                name=f"cell {cell.stored.folder.name} is valid",
                ending=Ending.FAILED,
                because="; ".join(cell.reasons),
            )


def junit(suite: str, cases: Sequence[Case]) -> str:
    """The cases as JUnit XML, which GitLab, Jenkins and others show."""
    root = ET.Element(
        "testsuite",
        name=suite,
        tests=str(len(cases)),
        failures=str(sum(case.ending is Ending.FAILED for case in cases)),
        skipped=str(sum(case.ending is Ending.SKIPPED for case in cases)),
        errors="0",
    )
    for case in cases:
        element = ET.SubElement(root, "testcase", classname=case.group, name=case.name)
        if case.ending is not Ending.PASSED:
            tag = "failure" if case.ending is Ending.FAILED else "skipped"
            ET.SubElement(element, tag, message=case.because)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def github(cases: Iterable[Case]) -> Iterator[str]:
    """GitHub's workflow commands: an error for each failure, as many as it shows.

    Source: GitHub Actions, Workflow commands; in a message %, CR and LF are escaped, in a property `:`
    and `,` too.
    """
    failed = [case for case in cases if case.ending is Ending.FAILED]
    for case in failed[:ANNOTATIONS]:
        title = _escaped(f"{case.group} {case.name}").replace(":", "%3A").replace(",", "%2C")
        yield f"::error title={title}::{_escaped(case.because)}"
    if len(failed) > ANNOTATIONS:
        yield f"::warning ::{len(failed) - ANNOTATIONS} more failed; the summary lists them"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def capped(markdown: str, limit: int = MARKDOWN_CAP) -> str:
    """Markdown of at most `limit` bytes, cut between lines and marked where it was cut."""
    if len(markdown.encode()) <= limit:
        return markdown
    mark = "\n\n</details>\n\n> Cut here: the whole would exceed what CI shows; the report holds it.\n"
    room = limit - len(mark.encode())
    kept = markdown.encode()[:room].decode(errors="ignore")
    return kept.rsplit("\n", 1)[0] + mark
