"""Redirect against tproxy, and the other factors that a suite may vary."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.plan.model import tuned
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 40


def figures(findings: Findings) -> list[Figure]:
    """The way of capture; what carries traffic on the same node; plaintext into the mesh; the IP family."""
    found = {
        name: [each for each in findings.factors if each.factor == name and not tuned(each.of.configuration)]
        for name in ("interception", "same_node", "path", "ip_family")
    }
    return [
        *forest(
            findings,
            found["interception"],
            name="capture",
            section="factors",
            question="Does it matter how packets are captured?",
            ratio_of="redirect / tproxy",
            reading="Conntrack is on at both levels; with redirect a rule is met once per connection, with "
            "tproxy once per packet.",
        ),
        *forest(
            findings,
            found["same_node"],
            name="same-node",
            section="factors",
            question="What does the tunnel cost between pods of one node?",
            ratio_of="plaintext / HBONE",
        ),
        *forest(
            findings,
            found["path"],
            name="into-mesh",
            section="factors",
            question="What does a client outside the mesh pay or save?",
            ratio_of="into the mesh in plaintext / cross-node in HBONE",
        ),
        *forest(
            findings,
            found["ip_family"],
            name="ip-family",
            section="factors",
            question="Does it matter whether packets are IPv4 or IPv6?",
            ratio_of="over IPv6 / over IPv4",
        ),
    ]
