"""The proxies' journals: when each connection of the probe stage reached each step, as they saw it.

A proxy's row is kept as one line of words, so that a file of them can be read and searched by a person too.
The last word of who carried what is the backend's: it names in each answer the port that it was called from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, Unreadable, new

NAME = "journal"

ROOM = 16_384
"""Connections that a proxy is asked to keep; a probe stage makes hundreds."""
NOTHING = "-"
"""In a row, what was not reached or does not apply."""

WORDS = ("direction", "outcome", "source", "target", "own_end", "trace")
NUMBERS = ("stream", "accepted_ns")
STAMPS = (
    *("original_destination_ns", "route_ns", "policy_ns", "pool_ns", "tcp_ns", "tls_ns", "tunnel_ns"),
    *("settings_ns", "connect_sent_ns", "connect_ns", "app_connect_ns", "answered_ns"),
    *("first_sent_ns", "first_received_ns"),
)
FIELDS = (*WORDS, *NUMBERS, *STAMPS)
"""Columns of a row. `source` is whom the proxy accepted from, `target` whom that was for, `own_end` the
proxy's own address on its leg to the app or the target; stamps are ns after `accepted_ns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One connection as one proxy saw it."""

    direction: str
    source: str
    target: str
    own_end: str
    trace: str
    """32 hex digits; empty for a connection in no tunnel."""
    stream: int | None
    """Of its tunnel: 1 is the tunnel's first."""
    accepted_ns: int
    stamps: Mapping[str, int]
    """Step -> monotonic ns; a step that was not reached is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """What one proxy handed over."""

    entries: tuple[Entry, ...]
    lost: int
    """Connections that found no room."""
    open: int
    """Connections that had not ended when it was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The books of all proxies, and what the backend saw."""

    books: Mapping[str, Book]
    unproven: frozenset[str]
    """Nodes whose proxy keeps no journal, by its own word."""
    seen: tuple[tuple[int, int], ...]
    """Per first packet that was answered: the client's own port, and the port that the backend saw."""

    def book(self, node: str) -> Book:
        """A node's book.

        Raises:
            Unreadable: There is none, or connections are missing from it.
        """
        if node not in self.books:
            raise Unreadable(NAME, f"no journal of the proxy on node {node}")
        book = self.books[node]
        if book.lost or book.open:
            raise Unreadable(
                NAME,
                f"the proxy on node {node} handed over {len(book.entries)} connections, {book.lost} more "
                f"found no room and {book.open} had not ended",
            )
        return book


def collect(
    taken: Mapping[str, Sequence[Mapping[str, Any]]], unproven: Sequence[str], seen: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """The document.

    Args:
        taken: Node -> the proxy's `take-journal` replies, in their order.
        unproven: Nodes whose proxy keeps none.
        seen: Pairs of ports, from the probe's reply.
    """
    return new(
        NAME,
        fields=list(FIELDS),
        proxies={node: _book(replies) for node, replies in taken.items()},
        unproven=list(unproven),
        seen=[f"{mine} {theirs}" for mine, theirs in seen],
    )


def read(documents: Mapping[str, Any]) -> Journal:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    if tuple(fields.texts("fields")) != FIELDS:
        raise Unreadable(NAME, f"fields are {fields.texts('fields')!r:.60}, expected {', '.join(FIELDS)}")
    proxies = fields.child("proxies")
    return Journal(
        books={node: _read_book(proxies.child(node)) for node in proxies},
        unproven=frozenset(fields.texts("unproven")),
        seen=tuple(_ports(line) for line in fields.texts("seen")),
    )


def _book(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "rows": [_line(reply["fields"], row) for reply in replies for row in reply["rows"]],
        "lost": sum(reply["lost"] for reply in replies),
        "open": replies[-1]["open"] if replies else 0,
    }


def _line(names: Sequence[str], row: Sequence[str | int | None]) -> str:
    found = dict(zip(names, row, strict=True))
    return " ".join(NOTHING if found[name] in {None, ""} else str(found[name]) for name in FIELDS)


def _read_book(fields: Fields) -> Book:
    return Book(
        entries=tuple(entry(line) for line in fields.texts("rows")),
        lost=fields.integer("lost"),
        open=fields.integer("open"),
    )


def entry(line: str) -> Entry:
    """A row as it was saved.

    Raises:
        Unreadable: It does not have this form.
    """
    words = line.split(" ")
    try:
        found = dict(zip(FIELDS, words, strict=True))
        accepted_ns = int(found["accepted_ns"])
        stamps = {name: accepted_ns + int(found[name]) for name in STAMPS if found[name] != NOTHING}
        stream = None if found["stream"] == NOTHING else int(found["stream"])
    except ValueError as exc:
        raise Unreadable(NAME, f"row {line!r:.80}: {exc}") from exc
    texts = {name: "" if found[name] == NOTHING else found[name] for name in WORDS}
    del texts["outcome"]
    return Entry(**texts, stream=stream, accepted_ns=accepted_ns, stamps=stamps)


def _ports(line: str) -> tuple[int, int]:
    mine, _, theirs = line.partition(" ")
    try:
        return int(mine), int(theirs)
    except ValueError as exc:
        raise Unreadable(NAME, f"seen {line!r:.80}: two ports were expected") from exc
