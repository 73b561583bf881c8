"""What packets meet in the kernel: rules hit and walked, conntrack entries per leg against the prediction.

Sums over the valid cells of a configuration. Of rules that match nothing the kernel counts no hit;
what is counted is the jump into them, which leads past them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.analysis.judge import JudgedCell, by_configuration
from harness.analysis.ledger import OUTBOUND_RULE
from harness.evidence.case import Case
from harness.evidence.checks.conntrack import predicted
from harness.evidence.prediction import tally
from harness.evidence.sources.document import Unreadable
from harness.evidence.sources.rules import SENT
from harness.plan.model import Configuration

CLIENT, TARGET, ELSEWHERE = "client", "target", "all others"
WALK = "jump-filler"
"""The rule through which a packet comes to the filler rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Conntrack entries of one leg in one namespace."""

    namespace: str
    """`client`, `target`, or `all others` together."""
    leg: str
    found: int
    predicted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One configuration."""

    configuration: Configuration
    cells: int
    connections: int
    packets: int
    """TCP packets sent in the client's namespace, the proxy's own among them."""
    hits: int
    """Of the rule there that sends packets to the proxy."""
    walks: int
    """Times that packets sent in the client's namespace went past the filler rules."""
    entries: tuple[Entries, ...]

    @property
    def hits_per_packet(self) -> float:
        """Redirection rule hits per packet sent."""
        return self.hits / self.packets if self.packets else 0.0

    @property
    def walked_per_packet(self) -> float:
        """Filler rules that a packet walked past, on average."""
        return self.walks * self.configuration.filler_rules / self.packets if self.packets else 0.0

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "cells": self.cells,
            "connections": self.connections,
            "packets": self.packets,
            "rule_hits": self.hits,
            "rule_hits_per_packet": self.hits_per_packet,
            "filler_rules_walked_per_packet": self.walked_per_packet,
            "conntrack": [asdict(each) for each in self.entries],
        }


def kernels(cells: Iterable[JudgedCell]) -> dict[str, Kernel]:
    """Configuration's key -> what its packets met, for those with a proxy and a valid cell."""
    found = {}
    for configuration, group in by_configuration(cells):
        cases = [cell.case for cell in group if cell.usable]
        if configuration.dataplane != "none" and cases:
            try:
                found[configuration.key] = _kernel(configuration, cases)
            except Unreadable:
                continue
    return found


def _kernel(configuration: Configuration, cases: list[Case]) -> Kernel:
    rule = OUTBOUND_RULE.get(configuration.interception, "")
    held: Counter[tuple[str, str]] = Counter()
    wanted: Counter[tuple[str, str]] = Counter()
    for case in cases:
        held.update(_legs(case, {name: tally(found) for name, found in case.conntrack.entries.items()}))
        prediction = predicted(case)
        for place, legs in ((CLIENT, prediction.client), (TARGET, prediction.target)):
            wanted.update({(place, leg.value): count for leg, count in legs.items()})
    return Kernel(
        configuration=configuration,
        cells=len(cases),
        connections=sum(case.opened for case in cases),
        packets=sum(case.rules.hits(case.client.netns, "count-tcp", SENT) for case in cases),
        hits=sum(case.rules.hits(case.client.netns, rule) for case in cases),
        walks=sum(case.rules.hits(case.client.netns, WALK, "OUTPUT") for case in cases),
        entries=tuple(
            Entries(namespace=place, leg=leg, found=held[place, leg], predicted=wanted[place, leg])
            for place, leg in sorted({*held, *wanted})
        ),
    )


def _legs(case: Case, by_namespace: Mapping[str, Mapping[Any, int]]) -> Counter[tuple[str, str]]:
    places = {case.client.netns: CLIENT} | {target.netns: TARGET for target in case.targets}
    counted: Counter[tuple[str, str]] = Counter()
    for namespace, legs in by_namespace.items():
        for leg, count in legs.items():
            counted[places.get(namespace, ELSEWHERE), leg.value] += count
    return counted
