"""Whether a proxy answered at an address that only a proxy can serve; once a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One request to the canary's address and what became of it."""

    cell: str
    """The cell at whose start it was made; others of the round refer to it."""
    not_made: str
    """Why there was no such request; empty where there was."""
    address: str = ""
    asked: int = 0
    right: int = 0
    """Answers of the endpoint that is behind the address."""
    streams: int = 0
    """Tunnelled connections that all proxies counted meanwhile."""
    errors: Mapping[str, int]
    """How requests failed."""


def collect(cell: str, *, address: str, asked: int, reply: Mapping[str, Any], streams: int) -> dict[str, Any]:
    """The document from the load process's reply."""
    wrong = {name: count for name, count in reply["verification"].items() if name != "checked" and count}
    return new(
        NAME,
        cell=cell,
        address=address,
        asked=asked,
        right=reply["verification"]["checked"] - sum(wrong.values()),
        streams=streams,
        errors={**reply["errors"], **wrong},
    )


def not_made(cell: str, reason: str) -> dict[str, Any]:
    """The document of a round without the request."""
    return new(NAME, cell=cell, not_made=reason)


def read(documents: Mapping[str, Any]) -> Canary:
    """The typed reading.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    if fields.has("not_made"):
        return Canary(cell=fields.text("cell"), not_made=fields.text("not_made"), errors={})
    return Canary(
        cell=fields.text("cell"),
        not_made="",
        address=fields.text("address"),
        asked=fields.integer("asked"),
        right=fields.integer("right"),
        streams=fields.integer("streams"),
        errors=fields.child("errors").counts(),
    )
