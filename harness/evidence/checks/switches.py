"""The proxies were set as the cell says, from its start to its end: switches, windows, policies."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, equal, judge, not_applicable

SET = ("streams_per_tunnel", "window_kib")


def check(case: Case) -> Outcome:
    """Streams per tunnel, windows and policies in force, by every proxy's own word, before and after."""
    tunnels, configuration = case.tunnels, case.configuration
    if not tunnels.nodes:
        return not_applicable("no proxy runs in this testbed")
    wanted = {name: (getattr(configuration, name), "as the cell says") for name in SET}
    if "policies" not in tunnels.unproven:
        more, own = configuration.policies_made, len(case.topology.policies)
        wanted["policies"] = (own + more, f"{own} of the topology, {more} synthetic ones")
    return judge(
        [
            equal(f"proxy {node} {name} {when}", reading(node, name), value, because)
            for node in sorted(tunnels.nodes)
            for name, (value, because) in wanted.items()
            for when, reading in (("at the start", tunnels.at_start), ("at the end", tunnels.at_end))
        ]
    )
