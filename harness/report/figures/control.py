"""The A/A control: one configuration on two lanes."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 75


def figures(findings: Findings) -> list[Figure]:
    """Each bout's reference against its twin."""
    return forest(
        findings,
        findings.control.comparisons,
        name="control",
        section="validity",
        question="How far apart are two configurations that are equal?",
        ratio_of="one lane / another that carries the same",
        reading="Both lanes carry the same and were measured in turns with all others, so any difference "
        "here is noise: the floor under every other figure of this page.",
    )
