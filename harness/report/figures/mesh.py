"""Through the mesh against a direct connection on the same path."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.plan.model import Interception
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 15


def figures(findings: Findings) -> list[Figure]:
    """The default's level and reuse on every path."""
    default = findings.default
    usual = {
        each.key
        for each in findings.configurations
        if each.interception is default.interception
        and each.interception is not Interception.NONE
        and each.reuse is default.reuse
        and each.same_node is default.same_node
        and not each.tuning
        and each.ip_family is default.ip_family
        and each.rtt_ms == default.rtt_ms
    }
    return forest(
        findings,
        [each for each in findings.factors if each.factor == "mesh" and each.of.configuration in usual],
        name="mesh",
        section="first-packet",
        question="What does the mesh cost, against no mesh?",
        ratio_of=f"through {default.dataplane} / directly",
        reading=f"The proxy here is {default.dataplane}; what carries over to others is the shape, not "
        "the size.",
    )
