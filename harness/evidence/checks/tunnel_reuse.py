"""Tunnels were reused as the cell says: one for each connection, or as few as the pool allows (M07)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge, not_applicable
from harness.evidence.sources.answers import PROBE
from harness.plan.model import Reuse

HELD = frozenset({"rate", "requests", "transfer", "requests-alone", "transfer-alone", "rtt"})
"""Stages that open their connections at their beginning and hold all of them to their end. In others some
come while others go, so that a tunnel may be opened for one whose place was just about to be free."""


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
        streams = case.configuration.streams_per_tunnel
        because = f"one per cold probe, one for warm ones, a pool of {streams} streams per tunnel"
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
    """Fewest and most tunnels with reuse: one a cold probe, one before warm ones, the pool's in a load.

    The probes leave one tunnel behind. A stage that holds its connections to its end needs as many as carry
    them all; what a stage has opened is there for the next one.
    """
    states = (
        {batch.state: batch.count for batch in case.answers[PROBE].batches} if PROBE in case.answers else {}
    )
    probed = states.get("cold", 0) + ("warm" in states)
    streams = case.configuration.streams_per_tunnel
    # of a service, each endpoint has a pool of its own
    pools = len(case.targets)
    needed = {name: -(-stage.connections // streams) for name, stage in case.answers.items() if name != PROBE}
    if pools > 1:
        return max(probed, 1 if case.opened else 0), probed + pools * sum(needed.values())
    held = max((count for name, count in needed.items() if name in HELD), default=0)
    fewest = probed + max(0, held - min(probed, 1))
    return fewest, fewest + sum(count for name, count in needed.items() if name not in HELD)
