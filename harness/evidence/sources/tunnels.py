"""The proxies' counters: connections, streams, tunnels, handshakes, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, Unreadable, new

NAME = "tunnels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnels:
    """Node -> counter -> value: before the cell, after its probes, after its end."""

    before: Mapping[str, Mapping[str, int]]
    probed: Mapping[str, Mapping[str, int]]
    after: Mapping[str, Mapping[str, int]]
    unproven: frozenset[str]
    """Counters that this data plane does not have, by its own word: what they would prove, nothing does."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes whose proxy was read."""
        return tuple(self.after)

    def growth(self, node: str, counter: str) -> int:
        """How much a counter grew over the whole cell."""
        return self._value(self.after, node, counter) - self._value(self.before, node, counter)

    def growth_in_probes(self, node: str, counter: str) -> int:
        """How much a counter grew while the first packets were probed."""
        return self._value(self.probed, node, counter) - self._value(self.before, node, counter)

    def at_start(self, node: str, gauge: str) -> int:
        """A gauge's value when the cell started."""
        return self._value(self.before, node, gauge)

    def at_end(self, node: str, gauge: str) -> int:
        """A gauge's value when the cell had ended."""
        return self._value(self.after, node, gauge)

    @staticmethod
    def _value(reading: Mapping[str, Mapping[str, int]], node: str, counter: str) -> int:
        try:
            return reading[node][counter]
        except KeyError:
            raise Unreadable(NAME, f"no {counter} of the proxy on node {node}") from None


def collect(before: Mapping[str, Any], probed: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The document from the proxies' `stats` replies, by node."""
    return new(NAME, before=dict(before), probed=dict(probed), after=dict(after))


def read(documents: Mapping[str, Any]) -> Tunnels:
    """The typed readings; what a proxy says in words (its loop, its switches) is left out.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Tunnels(
        before=_proxies(fields.child("before")),
        probed=_proxies(fields.child("probed")),
        after=_proxies(fields.child("after")),
        unproven=_unproven(fields.child("after")),
    )


WORDS = frozenset({"loop", "reuse", "same_node", "unproven"})
"""Keys of a `stats` reply that are no counters."""


def _proxies(fields: Fields) -> dict[str, dict[str, int]]:
    return {node: _counters(fields.child(node)) for node in fields}


def _unproven(fields: Fields) -> frozenset[str]:
    nodes = [fields.child(node) for node in fields]
    return frozenset(name for node in nodes if node.has("unproven") for name in node.texts("unproven"))


def _counters(fields: Fields) -> dict[str, int]:
    return {key: fields.integer(key) for key in fields if key not in WORDS}
