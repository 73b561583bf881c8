"""Conntrack on against off."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.plan.model import tuned
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 20


def figures(findings: Findings) -> list[Figure]:
    """tproxy with conntrack against the same rules without it."""
    return forest(
        findings,
        [
            each
            for each in findings.factors
            if each.factor == "conntrack" and not tuned(each.of.configuration)
        ],
        name="conntrack",
        section="factors",
        question="Does conntrack cost or save?",
        ratio_of="with conntrack / without",
        reading="Both sides hold the same rules and differ in the two notrack rules alone.",
    )
