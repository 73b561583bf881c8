"""How long a plan takes: what the load asks for, plus what everything around it costs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan import scenarios
from harness.plan.model import ROUND_TRIPS, Bout, Configuration, Load, Plan, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that the load does not ask for.

    The findings of every run hold the same figures as measured there (`timing.costs`), and `plan`
    predicts with those of the latest run where there is one. The defaults are the medians of a quick
    run on netns, two cores shared with other work, kernel 6.18: 1.95 s a measurement, 1.99 predicted.
    """

    restart_s: float = 0.35
    """Per lane and round: its proxies started anew, its pods enrolled."""
    switch_s: float = 0.3
    """Per bout: rules, proofs, counters, conntrack."""
    evidence_s: float = 0.05
    """Per cell: reading every evidence source after the load, checking it, writing the cell to disk."""
    stage_s: float = 0.030
    """Per cell and stage of load: opening its connections, closing them, handing over the samples."""
    probe_cold_s: float = 0.0143
    """Per probe that opens a tunnel: control call, connection, two handshakes, first byte, close."""
    probe_warm_s: float = 0.0060
    """Per probe through a tunnel that exists."""
    probe_new_s: float = 0.0027
    """Per probe where there are no tunnels."""
    policies_s: float = 0.45
    """Per cell with synthetic policies: the mesh document replaced before it and put back after it, and
    awaited at the proxies, which look at it every 0.25 s."""
    policy_s: float = 0.0001
    """Per synthetic policy, likewise: written, read, compiled."""
    filler_rule_s: float = 0.00002
    """Per filler rule and cell: building, committing and reading it back."""


CLOSING = 1
"""Round trips from a probe's last answer to the end of its connection: FIN and FIN."""
LINE_TRIPS = 12
"""Round trips by which a cell's distance is measured, before and after its load, and in which the cell before
comes to rest."""


def predict(plan: Plan, costs: Costs) -> float:
    """Seconds from the first bout's start to the last one's end."""
    filled = sum(cell.configuration.filler_rules for cell in plan.cells) * costs.filler_rule_s
    with_policies = [cell.configuration.policies for cell in plan.cells if cell.configuration.policies]
    return (
        plan.rounds * plan.lanes * costs.restart_s
        + sum(_bout(bout, plan.load, costs) for bout in plan.bouts)
        + filled
        + sum(costs.policies_s + count * costs.policy_s for count in with_policies)
    )


def _bout(bout: Bout, load: Load, costs: Costs) -> float:
    """Of a bout: its own overhead, and each lane's share of every stage."""
    _, rtt_ms = bout.cells[0].configuration.place
    return (
        costs.switch_s
        + LINE_TRIPS * rtt_ms / 1000
        + sum(_load(cell.configuration, load, costs) + costs.evidence_s for cell in bout.cells)
    )


def _load(configuration: Configuration, load: Load, costs: Costs) -> float:
    probe = {State.COLD: costs.probe_cold_s, State.WARM: costs.probe_warm_s, State.NEW: costs.probe_new_s}
    later_s = load.later_requests * max(load.later_interval_ms, configuration.rtt_ms) / 1000
    rtt_s = configuration.rtt_ms / 1000
    probes_s = sum(
        load.probes * (load.gap_ms / 1000 + probe[state] + later_s + (ROUND_TRIPS[state] + CLOSING) * rtt_s)
        for state in configuration.states
        if state is not State.STEADY
    )
    stages = [probes_s, *(stage.seconds for stage in scenarios.stages(load))]
    return sum(stage + costs.stage_s for stage in stages if stage)
