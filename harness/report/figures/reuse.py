"""Tunnel reuse on against off."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 30


def figures(findings: Findings) -> list[Figure]:
    """A pool of tunnels against a tunnel per connection."""
    return forest(
        findings,
        [each for each in findings.factors if each.factor == "reuse"],
        name="reuse",
        section="factors",
        question="Does reusing tunnels cost or save?",
        ratio_of="with reuse / a tunnel per connection",
        reading="A first packet is warm with reuse and cold without: that is what reuse does to it.",
    )
