"""What became of a connection that policy has to refuse; once a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "refusal"

COUNTERS = ("connects_denied", "connects_accepted", "flagged_deny")
"""The refusing proxy's: tunnelled connections denied, accepted, and access lines with the flag DENY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One attempt, what its client saw, and what the target's proxy counted of it."""

    cell: str
    """The cell at whose start it was made; others of the round refer to it."""
    not_made: str
    """Why there was no such attempt; empty where there was."""
    client: str = ""
    target: str = ""
    policy: str = ""
    connected: bool = False
    """Whether the client's TCP handshake was done: its own proxy accepts before it asks."""
    answer_bytes: int = 0
    ended: str = ""
    growth: Mapping[str, int]
    """Counter of `COUNTERS` -> how much it grew."""


def collect(
    cell: str,
    *,
    client: str,
    target: str,
    policy: str,
    seen: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[str, Any]:
    """The document from the agent's `attempt` and the target's proxy's `stats` before and after it."""
    return new(
        NAME,
        cell=cell,
        client=client,
        target=target,
        policy=policy,
        connected=seen["connected"],
        answer_bytes=seen["answer_bytes"],
        ended=seen["ended"],
        growth={name: after[name] - before[name] for name in COUNTERS},
    )


def not_made(cell: str, reason: str) -> dict[str, Any]:
    """The document of a round without the attempt."""
    return new(NAME, cell=cell, not_made=reason)


def read(documents: Mapping[str, Any]) -> Refusal:
    """The typed reading.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    if fields.has("not_made"):
        return Refusal(cell=fields.text("cell"), not_made=fields.text("not_made"), growth={})
    growth = fields.child("growth")
    return Refusal(
        cell=fields.text("cell"),
        not_made="",
        client=fields.text("client"),
        target=fields.text("target"),
        policy=fields.text("policy"),
        connected=fields.flag("connected"),
        answer_bytes=fields.integer("answer_bytes"),
        ended=fields.text("ended"),
        growth={name: growth.integer(name) for name in COUNTERS},
    )
