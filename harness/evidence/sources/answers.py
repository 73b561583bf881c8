"""What the load processes asked, opened, and got back, verified by them answer by answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "answers"

PROBE = "probe"
"""The stage that probes first packets; all others come from the Locust process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Probes of one first state, as asked for."""

    state: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One stage's answers."""

    batches: tuple[Batch, ...]
    """Empty but for the probe stage."""
    connections: int
    """Live connections that the stage was asked to use; 0 for the probe stage, which uses one at a time."""
    rows: int
    """Samples that the stage says it recorded."""
    opened: int
    """TCP connections opened, unrecorded ones too."""
    checked: int
    wrong: Mapping[str, int]
    """Kind (`wrong_nonce`, `wrong_pod`, `wrong_node`, `wrong_source`, `wrong_bytes`) -> so many."""
    named: bool
    """Whether answers name who gave them; what a bulk transfer reads or an echo returns does not."""
    origins: Mapping[str, int]
    """`pod/node/source address` -> answers that said so of themselves."""
    errors: Mapping[str, int]
    """Kind -> count."""
    residual_tunnels: int
    """Cold probes that set out while a proxy still had a tunnel."""
    tallied: int | None = None
    """Requests in Locust's own statistics; None where no Locust ran."""


def collect(stages: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """The document from each stage's arguments and the load process's reply."""
    return new(NAME, stages={name: _select(*pair) for name, pair in stages.items()})


def read(documents: Mapping[str, Any]) -> dict[str, Answers]:
    """Stage -> answers, in the order in which they ran.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    stages = Fields.opened(NAME, documents).child("stages")
    return {name: _answers(stages.child(name)) for name in stages}


def _select(asked: Mapping[str, Any], reply: Mapping[str, Any]) -> dict[str, Any]:
    """What both sides said, without the bulk that is a sample's or the generator's."""
    selected = {key: reply[key] for key in ("rows", "opened", "verification", "answers", "errors")}
    selected["asked"] = dict(asked)
    selected |= {
        key: reply[key]
        for key in ("residual_tunnels", "memory", "steps", "locust", "turns", "settle_ns", "together")
        if key in reply
    }
    return selected


def _answers(fields: Fields) -> Answers:
    asked = fields.child("asked")
    verification = fields.child("verification").counts()
    batches: tuple[Batch, ...] = ()
    if asked.has("states"):
        batches = tuple(
            Batch(state=batch.text("state"), count=batch.integer("count"))
            for batch in asked.children("states")
        )
    return Answers(
        batches=batches,
        connections=next((asked.integer(key) for key in ("connections", "streams") if asked.has(key)), 0),
        rows=fields.integer("rows"),
        opened=fields.integer("opened"),
        checked=verification.pop("checked", 0),
        wrong=verification,
        named=not any(asked.has(key) for key in ("streams", "message_bytes", "write_bytes")),
        origins=fields.child("answers").counts(),
        errors=fields.child("errors").counts(),
        residual_tunnels=len(fields.children("residual_tunnels")) if batches else 0,
        tallied=fields.child("locust").integer("requests") if fields.has("locust") else None,
    )
