"""The evidence in figures: per configuration, what each connection and packet met on its way.

Sums over the configuration's valid cells, from the same counters that the checks hold against each
other. A figure whose source or denominator does not exist for a configuration is absent, not zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.analysis.judge import JudgedCell, by_configuration
from harness.evidence.case import Case
from harness.evidence.sources.document import Unreadable
from harness.evidence.sources.rules import SENT
from harness.plan.model import Configuration, Interception
from harness.plan.scenarios import Rows, samples
from harness.topology.model import Pod

OUTBOUND_RULE = {
    Interception.REDIRECT: "redirect-outbound",
    Interception.TPROXY: "mark-outbound",
    Interception.TPROXY_NOTRACK: "mark-outbound",
}
"""Interception level -> the rule in the client's namespace that sends its packets to the proxy."""


REQUESTS = frozenset(
    ("probe", *(stage for stage, rows in samples().items() if rows in {Rows.REQUEST, Rows.ENDPOINT}))
)
"""Stages whose rows are one request each; others' are intervals, messages or searches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of the ledger."""

    name: str
    title: str
    of: str
    """Counter above the line."""
    per: str
    """Counter below it."""


ROWS = (
    Row(
        name="rule_hits_per_packet",
        title="redirection rule hits per packet the client sent",
        of="rule_hits",
        per="client_packets",
    ),
    Row(
        name="rule_hits_per_connection",
        title="redirection rule hits per connection",
        of="rule_hits",
        per="connections",
    ),
    Row(
        name="conntrack_per_connection",
        title="conntrack entries in the client's namespace per connection",
        of="conntrack",
        per="connections",
    ),
    Row(
        name="policy_per_connection",
        title="policy evaluations per connection",
        of="policy_evaluations",
        per="connections",
    ),
    Row(
        name="policy_per_request",
        title="policy evaluations per request",
        of="policy_evaluations",
        per="requests",
    ),
    Row(
        name="routes_per_connection",
        title="destination resolutions per connection",
        of="route_resolutions",
        per="connections",
    ),
    Row(
        name="handshakes_per_connection",
        title="TLS handshakes per connection",
        of="handshakes",
        per="connections",
    ),
    Row(name="streams_per_tunnel", title="connections carried per tunnel", of="streams", per="tunnels"),
    Row(name="resumptions", title="TLS resumptions per handshake", of="resumptions", per="handshakes"),
    Row(
        name="hbone_packets",
        title="packets to or from port 15008 between the nodes, per request",
        of="hbone_packets",
        per="requests",
    ),
    Row(
        name="app_packets",
        title="packets to or from the application's port between the nodes, per request",
        of="app_packets",
        per="requests",
    ),
    Row(
        name="right_answers",
        title="answers from the dialled pod, with the client's own address",
        of="right_answers",
        per="answers",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A configuration's figures."""

    configuration: Configuration
    cells: int
    """Valid cells that were summed."""
    totals: Mapping[str, float]
    figures: Mapping[str, float]
    """`Row.name` -> quotient."""

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {"cells": self.cells, "totals": dict(self.totals), "figures": dict(self.figures)}


def ledgers(cells: Iterable[JudgedCell], *, but: str = "") -> dict[str, Ledger]:
    """Configuration's key -> its figures, for configurations with a valid cell.

    Args:
        but: A check that cells may fail, by its name: what it says is not presumed then.
    """
    found = {}
    for configuration, group in by_configuration(cells):
        usable = [cell for cell in group if cell.holds(but)]
        if usable:
            found[configuration.key] = _ledger(configuration, [_totals(cell.case) for cell in usable])
    return found


def of_cell(cell: JudgedCell) -> Ledger:
    """One cell's own figures, whatever its verdict."""
    return _ledger(cell.configuration, [_totals(cell.case)])


def _ledger(configuration: Configuration, totals: list[dict[str, float]]) -> Ledger:
    names = set.intersection(*(set(each) for each in totals))
    summed = {name: sum(each[name] for each in totals) for name in sorted(names)}
    return Ledger(
        configuration=configuration,
        cells=len(totals),
        totals=summed,
        figures={
            row.name: summed[row.of] / summed[row.per]
            for row in ROWS
            if row.of in summed and summed.get(row.per)
        },
    )


def _totals(case: Case) -> dict[str, float]:
    """One cell's counters; what a source does not hold is left out."""
    totals: dict[str, float] = {
        "requests": sum(rows for stage, rows in case.samples.rows.items() if stage in REQUESTS)
    }
    for read in (_answers, _rules, _conntrack, _proxies, _wire):
        try:
            totals |= read(case)
        except Unreadable:
            continue
    return totals


def _answers(case: Case) -> dict[str, float]:
    stages = case.answers.values()
    checked = sum(stage.checked for stage in stages)
    wrong = sum(sum(stage.wrong.values()) for stage in stages)
    return {"connections": case.opened, "answers": checked, "right_answers": checked - wrong}


def _rules(case: Case) -> dict[str, float]:
    client = case.client.netns
    found: dict[str, float] = {"client_packets": case.rules.hits(client, "count-tcp", SENT)}
    rule = OUTBOUND_RULE.get(case.configuration.interception)
    if rule is not None and case.outbound_proxy is not None:
        found["rule_hits"] = case.rules.hits(client, rule)
    return found


def _conntrack(case: Case) -> dict[str, float]:
    return {"conntrack": len(case.conntrack.entries.get(case.client.netns, ()))}


def _proxies(case: Case) -> dict[str, float]:
    if case.outbound_proxy is None and case.inbound_proxy is None:
        return {}
    growth = case.tunnels.growth
    ends = (case.outbound_proxy, *case.inbound_proxies)
    nodes = [node for node in dict.fromkeys(ends) if node is not None]
    found: dict[str, float] = {
        "policy_evaluations": sum(growth(node, "policy_evaluations") for node in nodes),
        "route_resolutions": sum(growth(node, "route_resolutions") for node in nodes),
    }
    if case.tunnelled and case.outbound_proxy is not None:
        found |= {
            "handshakes": growth(case.outbound_proxy, "tls_handshakes_client"),
            "resumptions": sum(growth(node, "tls_resumptions") for node in nodes),
            "streams": growth(case.outbound_proxy, "streams_opened"),
            "tunnels": growth(case.outbound_proxy, "tunnels_opened"),
        }
    return found


def _wire(case: Case) -> dict[str, float]:
    if not isinstance(case.client, Pod):
        return {}
    node = f"node-{case.client.node}"
    packets = case.wire.packets
    return {
        "hbone_packets": packets(node, "wire-hbone-dport") + packets(node, "wire-hbone-sport"),
        "app_packets": packets(node, "wire-app-dport") + packets(node, "wire-app-sport"),
    }
