"""How long a cell takes: what the load asks for, plus what everything around it costs."""

from __future__ import annotations

from dataclasses import dataclass

from harness.plan import scenarios
from harness.plan.model import ROUND_TRIPS, Configuration, Load, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds that the load does not ask for.

    The findings of every run hold the same figures as measured there (`timing.costs`), and `plan`
    predicts with those of the latest run where there is one. The defaults are the medians of a quick
    run on netns, two cores shared with other work, kernel 6.18: 1.95 s a measurement, 1.99 predicted.
    """

    switch_s: float = 0.062
    """From the end of one cell to the first load of the next: rules, counters, conntrack, proxies."""
    evidence_s: float = 0.082
    """Reading every evidence source after the load, checking it, writing the cell to disk."""
    stage_s: float = 0.030
    """Per stage of load: opening its connections, closing them, handing over the samples."""
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


def predict(configuration: Configuration, load: Load, costs: Costs) -> float:
    """Seconds from the cell's start to the next one's."""
    probe = {State.COLD: costs.probe_cold_s, State.WARM: costs.probe_warm_s, State.NEW: costs.probe_new_s}
    later_s = load.later_requests * max(load.later_interval_ms, configuration.rtt_ms) / 1000
    rtt_s = configuration.rtt_ms / 1000
    probes_s = sum(
        load.probes * (load.gap_ms / 1000 + probe[state] + later_s + (ROUND_TRIPS[state] + CLOSING) * rtt_s)
        for state in configuration.states
        if state is not State.STEADY
    )
    stages = [probes_s, *(stage.seconds for stage in scenarios.stages(load))]
    return (
        costs.switch_s
        + LINE_TRIPS * rtt_s
        + configuration.filler_rules * costs.filler_rule_s
        + (costs.policies_s + configuration.policies * costs.policy_s if configuration.policies else 0.0)
        + sum(stage + costs.stage_s for stage in stages if stage)
        + costs.evidence_s
    )
