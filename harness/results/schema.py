"""What the JSON files of a run hold. Versions count up when a reader of the old form would be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from harness.plan.document import configuration_from_document, configuration_to_document
from harness.plan.model import Cell

RUN_SCHEMA = 2
CELL_SCHEMA = 2

Document = Mapping[str, Any]
Migrations = Mapping[int, Callable[[Document], Document]]
"""Version -> what makes the next version's document of one of its own."""

RUN_MIGRATIONS: Migrations = {}
CELL_MIGRATIONS: Migrations = {}
"""One entry for each version before today's that can still be read.

Runs of version 1 measured one cell after another, nothing in them in turns: they are not read.
"""


class OtherSchema(ValueError):
    """A document was written by a version of this program whose form this one cannot read."""


def up_to_date(document: Document, version: int, migrations: Migrations) -> Document:
    """A document of any earlier version in today's form, one version after the other.

    Args:
        version: Today's.

    Raises:
        OtherSchema: It is of a later version than today's, or of one that nothing leads on from.
        KeyError: It has no version.
    """
    found = int(document["schema_version"])
    if found > version or not migrations.keys() >= set(range(found, version)):
        raise OtherSchema(f"schema_version {found}; this version reads {version}")
    for each in range(found, version):
        document = {**migrations[each](document), "schema_version": each + 1}
    return document


DELAY_SCHEMA = 1


class RunStatus(StrEnum):
    """How far a run came."""

    PLANNED = "planned"
    RUNNING = "running"
    COMPLETE = "complete"
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One moment on both clocks: the wall's for people, the monotonic one for arithmetic."""

    wall: str
    """UTC, ISO 8601."""
    monotonic_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`run.json`: what was asked, on what, and how it went."""

    run: str
    status: RunStatus
    command: tuple[str, ...]
    """The command line that makes this run again."""
    suite: Mapping[str, Any]
    """The resolved suite."""
    suite_hash: str
    seed: int
    engine: str
    engine_reason: str
    started: Instant
    ended: Instant | None = None
    reason: str = ""
    """Why it is aborted or failed."""
    timing: Mapping[str, float] = field(default_factory=dict)
    """Seconds: `up_s`, `bench_s`, `down_s`, ... as they are known."""
    looks: tuple[int, ...] = ()
    """After which rounds the run looks whether its questions are answered; the last one is its end."""
    sessions: tuple[Instant, ...] = ()
    """When the run was gone on with; empty for one that was measured in one go."""
    members: Mapping[str, Any] = field(default_factory=dict)
    """What ran: images and versions, as the engine and the agents report them."""

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {"schema_version": RUN_SCHEMA, **asdict(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """As read.

        Raises:
            KeyError, TypeError, ValueError: It does not have this form.
        """
        ended = document["ended"]
        return cls(
            run=str(document["run"]),
            status=RunStatus(document["status"]),
            command=tuple(document["command"]),
            suite=document["suite"],
            suite_hash=str(document["suite_hash"]),
            seed=int(document["seed"]),
            engine=str(document["engine"]),
            engine_reason=str(document["engine_reason"]),
            started=Instant(**document["started"]),
            ended=Instant(**ended) if ended else None,
            reason=str(document["reason"]),
            timing=document["timing"],
            looks=tuple(document["looks"]),
            sessions=tuple(Instant(**each) for each in document.get("sessions", ())),
            members=document["members"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """A cell that was measured, as the run hands it over."""

    cell: Cell
    started: Instant
    ended: Instant
    timing: Mapping[str, float]
    """Seconds, of its whole bout: `place_s`, `prove_s`, `begin_s`, `load_s`, `end_s`, and one per stage."""
    verdict: Mapping[str, Any]
    """What the checks said during the run; every later report asks them again."""

    def document(self, rows: Mapping[str, int]) -> dict[str, Any]:
        """As saved; `rows` is how many samples of each stage lie beside it."""
        return {
            "schema_version": CELL_SCHEMA,
            "index": self.cell.index,
            "round": self.cell.round,
            "bout": self.cell.bout,
            "lane": self.cell.lane,
            "configuration": configuration_to_document(self.cell.configuration),
            "started": asdict(self.started),
            "ended": asdict(self.ended),
            "timing": dict(self.timing),
            "rows": dict(rows),
            "verdict": dict(self.verdict),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """As read; the number of rows is the reader's to compare.

        Raises:
            KeyError, TypeError, ValueError: It does not have this form.
        """
        return cls(
            cell=Cell(
                index=int(document["index"]),
                round=int(document["round"]),
                bout=int(document["bout"]),
                lane=int(document["lane"]),
                configuration=configuration_from_document(document["configuration"]),
            ),
            started=Instant(**document["started"]),
            ended=Instant(**document["ended"]),
            timing=document["timing"],
            verdict=document["verdict"],
        )
