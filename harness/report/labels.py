"""Names as shown: of configurations, paths, states, verdicts."""

from __future__ import annotations

from harness.plan.model import (
    STREAMS_PER_TUNNEL,
    WINDOW_KIB,
    Configuration,
    Interception,
    Path,
    Reuse,
    SameNode,
    State,
)
from harness.topology.model import IpFamily

PATH_ORDER = (Path.SAME_NODE, Path.CROSS_NODE, Path.OUT_OF_MESH, Path.INTO_MESH, Path.SERVICE)

LEVELS = {
    Interception.NONE: "no mesh",
    Interception.REDIRECT: "redirect",
    Interception.TPROXY: "tproxy",
    Interception.TPROXY_NOTRACK: "tproxy, no conntrack",
}
STATES = {
    State.COLD: "first, cold",
    State.WARM: "first, warm",
    State.NEW: "first, new",
    State.STEADY: "later",
}
METRIC_STATES = {
    "first.cold": State.COLD,
    "first.warm": State.WARM,
    "first.new": State.NEW,
    "steady": State.STEADY,
}
SIGNS = {
    "costs": "▲",
    "saves": "▼",
    "no difference": "=",
    "open": "?",
    "met": "✓",
    "missed": "✗",
    "worse": "▲",
    "better": "▼",
    "same": "=",
    "valid": "✓",
    "invalid": "✗",
    "unknown": "?",
    "not-applicable": "–",
    "holds": "✓",
    "holds if": "≈",
    "does not hold": "✗",
    "not measured in this run": "–",
}
"""Verdict -> a sign beside it, so that nothing is told by colour alone."""


def configuration(found: Configuration) -> str:
    """A configuration's name beside its path's: `redirect, reuse off`."""
    if found.dataplane == "none":
        return LEVELS[Interception.NONE] + _over(found)
    parts = [] if found.dataplane == "pyztunnel" else [found.dataplane]
    parts.append(LEVELS[found.interception])
    if found.reuse is not Reuse.ON:
        parts.append(f"reuse {found.reuse.value.replace('-', ', ')}")
    if found.same_node is SameNode.PLAINTEXT:
        parts.append("same node in plaintext")
    if found.filler_rules:
        parts.append(f"{found.filler_rules:,} filler rules")
    if found.streams_per_tunnel != STREAMS_PER_TUNNEL:
        parts.append(f"{found.streams_per_tunnel} a tunnel")
    if found.window_kib != WINDOW_KIB:
        parts.append(f"window {found.window_kib:,} KiB")
    if found.policies:
        parts.append(f"{found.policies:,} policies")
    return ", ".join(parts) + _over(found)


def _over(found: Configuration) -> str:
    """What the connection goes over, where that is not the usual."""
    family = ", IPv6" if found.ip_family is IpFamily.IPV6 else ""
    return family + (f", {found.rtt_ms} ms RTT" if found.rtt_ms else "")


def ordered(configurations: tuple[Configuration, ...]) -> list[Configuration]:
    """By path, then as the suite lists them."""
    return sorted(configurations, key=lambda each: PATH_ORDER.index(each.path))
