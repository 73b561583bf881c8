"""Connections are conserved: opened by the load, accepted, carried and finished by the proxies (C3, C4)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, equal, judge

COUNTERS = (
    "accepted_outbound",
    "accepted_inbound_plaintext",
    "completed_outbound_hbone",
    "completed_outbound_passthrough",
    "completed_outbound_denied",
    "completed_outbound_failed",
    "streams_opened",
    "connects_received",
    "connects_accepted",
    "connects_denied",
    "connects_failed",
)


def check(case: Case) -> Outcome:
    """Each proxy's counters are the connections opened where the path leads through it, and 0 elsewhere."""
    expected: dict[tuple[str, str], int] = {}
    spread: tuple[str, ...] = ()
    if case.outbound_proxy is not None:
        kind = "hbone" if case.tunnelled else "passthrough"
        expected[case.outbound_proxy, "accepted_outbound"] = case.opened
        expected[case.outbound_proxy, f"completed_outbound_{kind}"] = case.opened
        if case.tunnelled:
            expected[case.outbound_proxy, "streams_opened"] = case.opened
    if case.inbound_proxy is not None and not case.handed_over:
        carried = (
            ("connects_received", "connects_accepted") if case.tunnelled else ("accepted_inbound_plaintext",)
        )
        if len(case.inbound_proxies) == 1:
            expected |= {(case.inbound_proxy, counter): case.opened for counter in carried}
        else:
            spread = carried
    through = f"{case.opened} connections opened by the load"
    beside = "no connection of this cell passes there"
    laws = [
        equal(
            f"proxy {node} {counter}",
            case.tunnels.growth(node, counter),
            expected.get((node, counter), 0),
            through if (node, counter) in expected else beside,
        )
        for node in sorted({*case.tunnels.nodes, *(node for node, _ in expected)})
        for counter in COUNTERS
        if counter not in spread or node not in case.inbound_proxies
    ]
    laws += [
        equal(
            f"proxies {', '.join(case.inbound_proxies)} {counter}",
            case.arrived(counter),
            case.opened,
            through,
        )
        for counter in spread
    ]
    laws.append(equal("failed attempts", _errors(case), 0, "every attempt of the load has to succeed"))
    return judge(laws)


def _errors(case: Case) -> int:
    return sum(count for stage in case.answers.values() for count in stage.errors.values())
