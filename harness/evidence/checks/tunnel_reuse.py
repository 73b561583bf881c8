"""Tunnels were reused as the cell says: one for each connection, or as few as the pool allows (M07)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge, not_applicable
from harness.evidence.sources.answers import PROBE
from harness.plan.model import Reuse

STREAMS_PER_TUNNEL = 100
"""What a tunnel carries at once before the pool opens another. Source: istio/ztunnel config,
POOL_MAX_STREAMS_PER_CONNECTION."""


def check(case: Case) -> Outcome:
    """Tunnels opened by the source's proxy and accepted by the target's follow from reuse and connections."""
    if not case.tunnels.nodes:
        return not_applicable("no proxy runs in this testbed")
    laws = [
        equal(f"proxy {node} {gauge} at the start", case.tunnels.at_start(node, gauge), 0, "all were dropped")
        for node in sorted(case.tunnels.nodes)
        for gauge in ("tunnels_outbound", "tunnels_inbound")
    ]
    opener, accepters = case.outbound_proxy, case.inbound_proxies
    if not case.tunnelled or opener is None or not accepters:
        laws += [
            _opened(case, node, 0, 0, "nothing of this cell is tunnelled") for node in case.tunnels.nodes
        ]
        return judge(laws)
    if case.configuration.reuse is not Reuse.ON:
        laws.append(_opened(case, opener, case.opened, case.opened, "one per connection without reuse"))
    else:
        fewest, most = _pooled(case)
        because = f"one per cold probe, one for warm ones, a pool of {STREAMS_PER_TUNNEL} streams per tunnel"
        laws.append(_opened(case, opener, fewest, most, because))
    named = f"proxies {', '.join(accepters)}" if len(accepters) > 1 else f"proxy {accepters[0]}"
    laws.append(
        equal(
            f"{named} accepted_inbound",
            case.arrived("accepted_inbound"),
            case.tunnels.growth(opener, "tunnels_opened"),
            "every tunnel opened is a tunnel accepted",
        )
    )
    return judge(laws)


def _opened(case: Case, node: str, low: int, high: int, because: str) -> Law:
    found = case.tunnels.growth(node, "tunnels_opened")
    return Law(name=f"proxy {node} tunnels_opened", found=found, low=low, high=high, because=because)


def _pooled(case: Case) -> tuple[int, int]:
    """Fewest and most tunnels with reuse: one a cold probe, one before warm ones, the pool's in a load."""
    states = (
        {batch.state: batch.count for batch in case.answers[PROBE].batches} if PROBE in case.answers else {}
    )
    probed = states.get("cold", 0) + ("warm" in states)
    loads = [stage.connections for name, stage in case.answers.items() if name != PROBE]
    # of a service, each endpoint has a pool of its own
    pooled = len(case.targets) * sum(-(-connections // STREAMS_PER_TUNNEL) for connections in loads)
    return max(probed, 1 if case.opened else 0), probed + pooled
