"""How the lanes of a bout took turns in each stage, from one lane's side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """One stage's turns of this lane among those of all lanes."""

    own: int
    """Turns of this lane; in the probe process each request is one."""
    places: tuple[int, ...]
    """How many of them were the first, second, ... of their cycle; empty where there are no cycles."""
    overlap_ns: int
    """How long other lanes' turns went on during them."""


def collect(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document from the replies of the stages, as `harness.load.split` deals them out."""
    return new(NAME, stages={name: reply["among"] for name, reply in stages.items()})


def read(documents: Mapping[str, Any]) -> dict[str, Turns]:
    """Stage -> turns.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    stages = Fields.opened(NAME, documents).child("stages")
    return {name: _turns(stages.child(name)) for name in stages}


def _turns(fields: Fields) -> Turns:
    return Turns(
        own=fields.integer("own"),
        places=tuple(fields.integers("places")),
        overlap_ns=fields.integer("overlap_ns"),
    )
