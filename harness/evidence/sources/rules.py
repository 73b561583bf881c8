"""Packet and byte counters of our rules, and whether the rules were those that we wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new
from harness.topology.model import IpFamily

NAME = "rules"

WIRE_PREFIX = "wire-"
"""Rules of that prefix count traffic between nodes; they are the `wire` source's."""


SENT = "BENCH_OUTPUT"
ARRIVED = "BENCH_PRERT"
"""Chains of the rules that only count (`count-syn`, `count-tcp`): what a namespace sends, what arrives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceRules:
    """One namespace's rules at one moment."""

    kind: str
    """`pod`, `node`, `underlay` or `host`."""
    packets: Mapping[tuple[str, str, str], int]
    """(table, chain, rule's name) -> packets since the rules were written."""
    digest: str
    expected_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All namespaces' rules before and after the cell."""

    before: Mapping[str, NamespaceRules]
    after: Mapping[str, NamespaceRules]

    def hits(self, namespace: str, rule: str, chain: str = "", *, family: IpFamily | None = None) -> int:
        """Packets that `rule` counted during the cell in `namespace`; 0 where no such rule is.

        Without a family those of both together.
        """
        return _packets(self.after.get(namespace), rule, chain, family) - _packets(
            self.before.get(namespace), rule, chain, family
        )


def collect(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The document from all agents' `counters` replies, their namespaces joined."""
    return new(NAME, before=_select(before), after=_select(after))


def read(documents: Mapping[str, Any]) -> Rules:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Rules(before=_namespaces(fields.child("before")), after=_namespaces(fields.child("after")))


def _select(namespaces: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("kind", "rules", "digest", "expected_digest")
    return {name: {key: content[key] for key in keys} for name, content in namespaces.items()}


def _namespaces(fields: Fields) -> dict[str, NamespaceRules]:
    return {name: _namespace(fields.child(name)) for name in fields}


def _namespace(fields: Fields) -> NamespaceRules:
    packets: dict[tuple[str, str, str], int] = {}
    for rule in fields.children("rules"):
        key = (rule.text("table"), rule.text("chain"), rule.text("rule"))
        packets[key] = packets.get(key, 0) + rule.integer("packets")
    return NamespaceRules(
        kind=fields.text("kind"),
        packets=packets,
        digest=fields.text("digest"),
        expected_digest=fields.text("expected_digest"),
    )


def _packets(namespace: NamespaceRules | None, rule: str, chain: str, family: IpFamily | None) -> int:
    if namespace is None:
        return 0
    return sum(
        count
        for (table, in_chain, name), count in namespace.packets.items()
        if name == rule and chain in {"", in_chain} and family in {None, _family(table)}
    )


def _family(table: str) -> IpFamily:
    """IPv6's tables are named `mangle6` and so on."""
    return IpFamily.IPV6 if table.endswith("6") else IpFamily.IPV4
