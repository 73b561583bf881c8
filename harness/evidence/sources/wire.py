"""Packets on the measured links: by port between the nodes, and what does not belong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, Unreadable, new
from harness.evidence.sources.rules import WIRE_PREFIX

NAME = "wire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One namespace's counts at one moment."""

    kind: str
    """`pod`, `node`, `underlay` or `host`."""
    rules: Mapping[str, int]
    """Rule (`wire-hbone-dport` and so on) -> packets; nodes have them."""
    stray: int
    """Packets on measured links that are neither ARP nor TCP of the data path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Every namespace's counts before and after the cell."""

    before: Mapping[str, Counts]
    after: Mapping[str, Counts]

    def packets(self, namespace: str, rule: str) -> int:
        """Packets that a wire rule counted during the cell.

        Raises:
            Unreadable: The namespace has no such rule.
        """
        try:
            return self.after[namespace].rules[rule] - self.before[namespace].rules[rule]
        except KeyError:
            raise Unreadable(NAME, f"no rule {rule} in {namespace}") from None

    def stray(self, namespace: str) -> int:
        """Packets of the cell in `namespace` that do not belong on a measured link."""
        try:
            return self.after[namespace].stray - self.before[namespace].stray
        except KeyError:
            raise Unreadable(NAME, f"{namespace} was not read both before and after") from None


def collect(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The document from all agents' `counters` replies, their namespaces joined."""
    return new(NAME, before=_select(before), after=_select(after))


def read(documents: Mapping[str, Any]) -> Wire:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Wire(before=_namespaces(fields.child("before")), after=_namespaces(fields.child("after")))


def _select(namespaces: Mapping[str, Any]) -> dict[str, Any]:
    selected = {}
    for name, content in namespaces.items():
        rules: dict[str, int] = {}
        for rule in content["rules"]:
            if rule["rule"].startswith(WIRE_PREFIX):
                rules[rule["rule"]] = rules.get(rule["rule"], 0) + rule["packets"]
        selected[name] = {
            "kind": content["kind"],
            "rules": rules,
            "links": content["links"],
            "stray": content["stray"],
        }
    return selected


def _namespaces(fields: Fields) -> dict[str, Counts]:
    return {name: _counts(fields.child(name)) for name in fields}


def _counts(fields: Fields) -> Counts:
    return Counts(
        kind=fields.text("kind"), rules=fields.child("rules").counts(), stray=fields.integer("stray")
    )
