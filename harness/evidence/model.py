"""The words in which a cell's evidence is judged.

A check ends as valid, invalid, unknown or not applicable; a cell as valid, invalid or unknown.
Beside that a cell may carry remarks: it was noisy (the machine was busy with something else, while all lanes
of its bout had their turns), disturbed (something met it alone, so it enters no comparison), limited (the
load generator was its bottleneck), or paused (something on the path stood still; a result, and kept).
The words are never mixed: noise does not make a cell invalid, and an invalid cell is not excused by noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

Number = int | float
"""What a check reports in figures."""


class CheckStatus(StrEnum):
    """How one check ended."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not-applicable"


class CellStatus(StrEnum):
    """How a cell as a whole ended."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class RemarkKind(StrEnum):
    """What may be said of a cell beside its status."""

    NOISY = "noisy"
    DISTURBED = "disturbed"
    LIMITED = "limited"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check's end: what was held against what, in words with the figures, and the figures."""

    name: str
    status: CheckStatus
    reason: str
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The check as it is saved."""
        return {
            "name": self.name,
            "status": self.status.value,
            "reason": self.reason,
            "numbers": dict(self.numbers),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The check that `document` saved."""
        return cls(
            name=document["name"],
            status=CheckStatus(document["status"]),
            reason=document["reason"],
            numbers=dict(document["numbers"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A disturbance of the cell, or a limit of the generator in one of its stages."""

    kind: RemarkKind
    stage: str
    """`probe`, `rate`, `requests`, `transfer`; empty: the whole cell."""
    reason: str
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The remark as it is saved."""
        return {
            "kind": self.kind.value,
            "stage": self.stage,
            "reason": self.reason,
            "numbers": dict(self.numbers),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The remark that `document` saved."""
        return cls(
            kind=RemarkKind(document["kind"]),
            stage=document["stage"],
            reason=document["reason"],
            numbers=dict(document["numbers"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """What a cell's evidence proves: its status, every check behind it, and the remarks."""

    status: CellStatus
    checks: tuple[Check, ...]
    remarks: tuple[Remark, ...] = ()

    @property
    def noisy(self) -> bool:
        """Whether the machine was busy with something else."""
        return any(remark.kind is RemarkKind.NOISY for remark in self.remarks)

    @property
    def disturbed(self) -> bool:
        """Whether something met this cell alone, so that it cannot be held against others."""
        return any(remark.kind is RemarkKind.DISTURBED for remark in self.remarks)

    @property
    def limits(self) -> tuple[Remark, ...]:
        """What the generator limited."""
        return tuple(remark for remark in self.remarks if remark.kind is RemarkKind.LIMITED)

    @property
    def limited_stages(self) -> frozenset[str]:
        """Stages whose throughput is the generator's, to be shown as "at least" and used in no ratio."""
        return frozenset(remark.stage for remark in self.limits)

    @property
    def limited(self) -> bool:
        """Whether the generator was the bottleneck of any stage."""
        return bool(self.limited_stages)

    def document(self) -> dict[str, Any]:
        """The verdict as it is saved."""
        return {
            "status": self.status.value,
            "checks": [check.document() for check in self.checks],
            "remarks": [remark.document() for remark in self.remarks],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The verdict that `document` saved."""
        return cls(
            status=CellStatus(document["status"]),
            checks=tuple(Check.from_document(check) for check in document["checks"]),
            remarks=tuple(Remark.from_document(remark) for remark in document["remarks"]),
        )


def conclude(checks: tuple[Check, ...], remarks: tuple[Remark, ...]) -> CellVerdict:
    """A cell is invalid when any check is, else unknown when any check is, else valid."""
    statuses = {check.status for check in checks}
    if CheckStatus.INVALID in statuses:
        status = CellStatus.INVALID
    elif CheckStatus.UNKNOWN in statuses or CheckStatus.VALID not in statuses:
        status = CellStatus.UNKNOWN
    else:
        status = CellStatus.VALID
    return CellVerdict(status=status, checks=checks, remarks=remarks)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCounts:
    """What the saved samples hold, counted from the files and not from the generator's own word."""

    first: Mapping[str, int]
    """State -> probed connections, one each (`cold`, `warm`, `new`)."""
    rows: Mapping[str, int]
    """Stage -> rows (`probe`, `rate`, `requests`, `transfer`)."""
    failed: Mapping[str, int]
    """Stage -> rows that are not ok."""
    longest_ns: Mapping[str, int]
    """Stage -> the longest time to an answer's first byte, of stages that ask for answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPacket:
    """The first request of a probed connection, rightly answered: the client's own times, monotonic ns."""

    state: str
    """What the sample says that it met: `cold`, `warm`, `new`."""
    port: int
    """The client's own."""
    start_ns: int
    """Before connect()."""
    connected_ns: int
    sent_ns: int
    first_byte_ns: int


FIRST_PACKET_TIMES = ("start_ns", "connected_ns", "sent_ns", "first_byte_ns")
"""Columns of the probe's samples that a `FirstPacket` is made of, beside state and port."""
