"""Names as shown: of configurations, paths, states, verdicts."""

from __future__ import annotations

from harness.plan.model import Configuration, Interception, Path, Reuse, SameNode, State

PATH_ORDER = (Path.SAME_NODE, Path.CROSS_NODE, Path.OUT_OF_MESH, Path.INTO_MESH)

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
    "inconclusive": "?",
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
        return LEVELS[Interception.NONE]
    parts = [LEVELS[found.interception]]
    if found.reuse is Reuse.OFF:
        parts.append("reuse off")
    if found.same_node is SameNode.PLAINTEXT:
        parts.append("same node in plaintext")
    if found.filler_rules:
        parts.append(f"{found.filler_rules:,} filler rules")
    return ", ".join(parts)


def ordered(configurations: tuple[Configuration, ...]) -> list[Configuration]:
    """By path, then as the suite lists them."""
    return sorted(configurations, key=lambda each: PATH_ORDER.index(each.path))
