"""The kernel's own TCP counters (/proc/net/netstat and /proc/net/snmp) in every namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, Unreadable, new

NAME = "sockets"

JUDGED = ("TcpExt.ListenDrops", "TcpExt.ListenOverflows", "TcpExt.TCPFastOpen", "TcpExt.TCPSynRetrans")
"""Counters (the third: all that start so) that are kept even where they stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Namespace -> counter (`TcpExt.ListenDrops`) -> value, before and after the cell."""

    before: Mapping[str, Mapping[str, int]]
    after: Mapping[str, Mapping[str, int]]

    def growth(self, namespace: str, counter: str) -> int:
        """How much a counter grew during the cell.

        Raises:
            Unreadable: The namespace was not read, or its kernel has no such counter.
        """
        try:
            return self.after[namespace][counter] - self.before[namespace][counter]
        except KeyError:
            raise Unreadable(NAME, f"no {counter} of {namespace}") from None

    def counters(self, namespace: str, prefix: str) -> tuple[str, ...]:
        """Names of a namespace's counters that start with `prefix`, sorted."""
        return tuple(sorted(name for name in self.after.get(namespace, {}) if name.startswith(prefix)))


def collect(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The document from all agents' `counters` replies, their namespaces joined.

    Of about 400 counters a namespace, those that moved are kept, and those that are judged.
    """
    kept = {name: _kept(before.get(name, {}), content) for name, content in after.items()}
    return new(NAME, before=_select(before, kept), after=_select(after, kept))


def read(documents: Mapping[str, Any]) -> Sockets:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Sockets(before=_namespaces(fields.child("before")), after=_namespaces(fields.child("after")))


def _kept(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    counters = after["netstat"]
    moved = {name for name, value in counters.items() if before.get("netstat", {}).get(name) != value}
    return moved | {name for name in counters if name.startswith(JUDGED)}


# The kernel lists a few (IcmpMsg) only from their first packet on: one that is not there is 0.
def _select(namespaces: Mapping[str, Any], kept: Mapping[str, set[str]]) -> dict[str, Any]:
    return {
        name: {counter: content["netstat"].get(counter, 0) for counter in sorted(kept.get(name, ()))}
        for name, content in namespaces.items()
    }


def _namespaces(fields: Fields) -> dict[str, dict[str, int]]:
    return {name: fields.child(name).counts() for name in fields}
