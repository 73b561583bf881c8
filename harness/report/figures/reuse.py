"""Tunnel reuse on against off, and what opening tunnels one after another adds."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 30


def figures(findings: Findings) -> list[Figure]:
    """A pool of tunnels against a tunnel per connection."""
    found = {
        name: [each for each in findings.factors if each.factor == name] for name in ("reuse", "serialised")
    }
    return [
        *forest(
            findings,
            found["reuse"],
            name="reuse",
            section="factors",
            question="Does reusing tunnels cost or save?",
            ratio_of="with reuse / a tunnel per connection",
            reading="A first packet is warm with reuse and cold without: that is what reuse does to it.",
        ),
        *forest(
            findings,
            found["serialised"],
            name="serialised",
            section="factors",
            question="What does opening tunnels one after another cost?",
            ratio_of="one after another / at once, a tunnel per connection",
            reading="ztunnel cannot switch its pool off; with one stream per tunnel it opens the tunnels of "
            "a key under a lock. What that adds shows where connections come together, not with probes.",
        ),
    ]
