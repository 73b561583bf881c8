"""The connection tracking table: its size at the start, its entries and its size at the end.

The counters of `conntrack -S` stay 0 on current kernels, so the table itself is what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "conntrack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tracked connection, as far as telling its leg needs it."""

    source: str
    destination: str
    destination_port: int
    reply_source: str
    reply_source_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conntrack:
    """Every namespace's table."""

    before: Mapping[str, int]
    """Namespace -> number of entries when the cell started, after the flush."""
    entries: Mapping[str, tuple[Entry, ...]]
    """Namespace -> TCP's entries when the cell had ended."""
    others: Mapping[str, int]
    """Namespace -> number of entries of other protocols in the same dump."""
    counted: Mapping[str, int]
    """Namespace -> number of entries by the kernel's own count, right after the dump."""


def collect(before: Mapping[str, Any], dump: Mapping[str, Any]) -> dict[str, Any]:
    """The document from the agents' first `counters` and their `conntrack-dump`, namespaces joined."""
    counts = {name: content["conntrack"] for name, content in before.items()}
    return new(
        NAME,
        before=counts,
        **{
            part: {name: table[part] for name, table in dump.items()}
            for part in ("entries", "others", "counted")
        },
    )


def read(documents: Mapping[str, Any]) -> Conntrack:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    entries = fields.child("entries")
    return Conntrack(
        before=fields.child("before").counts(),
        entries={name: tuple(_entry(entry) for entry in entries.children(name)) for name in entries},
        others=fields.child("others").counts(),
        counted=fields.child("counted").counts(),
    )


def _entry(fields: Fields) -> Entry:
    return Entry(
        source=fields.text("src"),
        destination=fields.text("dst"),
        destination_port=fields.integer("dport"),
        reply_source=fields.text("reply_src"),
        reply_source_port=fields.integer("reply_sport"),
    )
