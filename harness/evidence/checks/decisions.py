"""Each connection was routed once and judged by policy once, at any number of requests on it."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, equal, judge, not_applicable

COUNTERS = ("route_resolutions", "policy_evaluations")


def check(case: Case) -> Outcome:
    """Routes resolved equal connections from the proxy's pods, policy evaluations those to its pods."""
    if not case.tunnels.nodes:
        return not_applicable("no proxy runs in this testbed")
    missing = sorted(case.tunnels.unproven & set(COUNTERS))
    if missing:
        return not_applicable(f"{case.configuration.dataplane} does not count {' and '.join(missing)}")
    laws = []
    for node in sorted(case.tunnels.nodes):
        outbound = case.tunnels.growth(node, "accepted_outbound")
        inbound = case.tunnels.growth(node, "connects_received") + case.tunnels.growth(
            node, "accepted_inbound_plaintext"
        )
        if case.handed_over and node == case.inbound_proxy:
            inbound += case.opened
        laws += [
            equal(
                f"proxy {node} route_resolutions",
                case.tunnels.growth(node, "route_resolutions"),
                outbound,
                f"once for each of {outbound} outbound connections",
            ),
            equal(
                f"proxy {node} policy_evaluations",
                case.tunnels.growth(node, "policy_evaluations"),
                inbound,
                f"once for each of {inbound} connections to its pods",
            ),
        ]
    return judge(laws)
