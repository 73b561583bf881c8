"""Samples carry the state that they met: cold ones opened a tunnel each, others opened none (M04)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge, not_applicable
from harness.evidence.sources.answers import PROBE


def check(case: Case) -> Outcome:
    """Tunnels opened while probing equal the cold probes, and no cold probe found a tunnel."""
    probes = case.answers.get(PROBE)
    if probes is None:
        return not_applicable("this cell probes no first packets")
    exist = {state.value for state in case.configuration.states}
    laws = [
        equal(
            f"probes labelled {batch.state}",
            batch.count if batch.state in exist else 0,
            batch.count,
            f"{batch.state} exists for this configuration"
            if batch.state in exist
            else f"the states of this configuration are {', '.join(sorted(exist))}",
        )
        for batch in probes.batches
    ]
    cold = sum(batch.count for batch in probes.batches if batch.state == "cold")
    primed = any(batch.state == "warm" for batch in probes.batches)
    for node in sorted(case.tunnels.nodes):
        opens = case.tunnelled and node == case.outbound_proxy
        laws.append(_tunnels(case, node, cold=cold if opens else 0, primed=primed and opens))
    if cold:
        laws.append(
            equal("cold probes that found a tunnel", probes.residual_tunnels, 0, "all were dropped before")
        )
    return judge(laws)


def _tunnels(case: Case, node: str, *, cold: int, primed: bool) -> Law:
    found = case.tunnels.growth_in_probes(node, "tunnels_opened")
    because = f"{cold} cold probes, one tunnel each" + (
        ", and one for the first warm probe" if primed else ""
    )
    return equal(f"proxy {node} tunnels opened while probing", found, cold + primed, because)
