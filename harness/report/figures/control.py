"""The A/A control: two equal configurations."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 75


def figures(findings: Findings) -> list[Figure]:
    """Reuse on and off where there are no tunnels."""
    return forest(
        findings,
        findings.control.comparisons,
        name="control",
        section="validity",
        question="How far apart are two configurations that are equal?",
        ratio_of="reuse on / reuse off, without tunnels",
        reading="There are no tunnels to reuse out of mesh, so any difference here is noise: the floor under "
        "every other figure of this page.",
    )
