"""What each round proved beside its cells' counters: policy, the proxy's path, encryption, the clock.

Read from the cells' evidence, which tells the round's proofs by the cell where they were made. What cannot
be read is left out here; the cells' own checks call it unknown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

from harness.analysis.judge import JudgedCell
from harness.analysis.statistics import percentile
from harness.evidence.case import Case
from harness.evidence.model import Check, CheckStatus
from harness.evidence.sources.canary import Canary
from harness.evidence.sources.clock import Clock
from harness.evidence.sources.document import Unreadable
from harness.evidence.sources.nonces import Nonces
from harness.evidence.sources.refusal import Refusal

T = TypeVar("T")

CHECK = "nonces-by-round"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFigures:
    """A sample of stamped connections, or several together. Times in ns."""

    n: int
    apart_p50: float
    """The load's clock against the packets', over the quicker half of the connections."""
    apart_p90: float | None
    """Of its size, without a sign; None with too few connections."""
    sent_p50: float
    """From the load's time before connect to the SYN's stamp."""
    told_p50: float
    """From the SYN-ACK's stamp to the load's time after connect."""
    answered_p50: float
    """From the stamp of the answer's packet to the load's time of the first byte."""
    mapping_error: float
    """How well a stamp is known in the load's time; the largest of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceFigures:
    """Frames that were looked at between the nodes, and those that held a nonce in clear."""

    control_hits: int
    """In the plaintext that was sent to be heard."""
    tunnel_frames: int
    """In cells whose connections crossed in tunnels."""
    tunnel_hits: int
    plain_frames: int
    """In cells whose connections crossed in plaintext."""
    plain_hits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What one round of a data plane proved, or all of them together."""

    dataplane: str
    round: int
    """0: all rounds."""
    rounds: int
    """How many are in it."""
    refused: int
    """Connections that policy had to refuse and did."""
    refusals: int
    """As many as were made: one on each lane."""
    answered: int
    """Canaries that were answered."""
    canaries: int
    """As many as were sent: one on each lane."""
    nonces: NonceFigures
    clock: ClockFigures | None

    def document(self) -> dict[str, Any]:
        """As saved."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """One round of a data plane, as its cells tell it."""

    dataplane: str
    number: int
    refusals: tuple[Refusal, ...]
    canaries: tuple[Canary, ...]
    clocks: tuple[Clock, ...]
    controls: tuple[Nonces, ...]
    cells: tuple[Case, ...]


def proofs(cells: Iterable[JudgedCell]) -> tuple[Proofs, ...]:
    """Per data plane: all rounds together, then each; the rounds in their order."""
    found = _rounds(cells)
    shown: list[Proofs] = []
    for dataplane in dict.fromkeys(each.dataplane for each in found):
        own = [each for each in found if each.dataplane == dataplane]
        shown += [_together(0, own), *(_together(each.number, [each]) for each in own)]
    return tuple(shown)


def nonces_by_round(found: Sequence[Proofs]) -> Check:
    """In every round nonces were readable in plaintext and in no tunnel: the one is the other's control."""
    rounds: dict[int, list[NonceFigures]] = {}
    for each in found:
        if each.round:
            rounds.setdefault(each.round, []).append(each.nonces)
    sums = {
        number: tuple(
            sum(getattr(each, name) for each in group)
            for name in ("tunnel_frames", "tunnel_hits", "plain_frames", "plain_hits")
        )
        for number, group in sorted(rounds.items())
    }
    totals = [sum(column) for column in zip(*sums.values(), strict=True)] or [0, 0, 0, 0]
    names = ("tunnel_frames", "tunnel_hits", "plain_frames", "plain_hits")
    numbers = dict(zip(names, totals, strict=True))
    if not numbers["tunnel_frames"] or not numbers["plain_frames"]:
        lacks = "tunnels" if not numbers["tunnel_frames"] else "plaintext"
        reason = f"no cell sent {lacks} between the nodes"
        return Check(name=CHECK, status=CheckStatus.NOT_APPLICABLE, reason=reason, numbers=numbers)
    wrong = [
        f"round {number}: {hits} of {frames} frames of tunnels could be read, {heard} of {plain} of plaintext"
        for number, (frames, hits, plain, heard) in sums.items()
        if hits or (frames and plain and not heard)
    ]
    if wrong:
        return Check(name=CHECK, status=CheckStatus.INVALID, reason="; ".join(wrong), numbers=numbers)
    reason = (
        f"in {len(sums)} rounds 0 of {totals[0]} frames of tunnels held a request's nonce in clear, "
        f"{totals[3]} of {totals[2]} frames of plaintext did"
    )
    return Check(name=CHECK, status=CheckStatus.VALID, reason=reason, numbers=numbers)


def _rounds(cells: Iterable[JudgedCell]) -> list[_Round]:
    groups: dict[tuple[str, int], list[Case]] = {}
    for cell in cells:
        key = (cell.configuration.dataplane, cell.stored.record.cell.round)
        groups.setdefault(key, []).append(cell.case)
    return [
        _Round(
            dataplane=dataplane,
            number=number,
            refusals=_distinct(cases, lambda case: case.refusal, lambda refusal: refusal.cell),
            canaries=_distinct(cases, lambda case: case.canary, lambda canary: canary.cell),
            clocks=_distinct(cases, lambda case: case.clock, lambda clock: clock.cell),
            controls=_distinct(cases, lambda case: case.nonces, lambda nonces: nonces.control_cell),
            cells=tuple(cases),
        )
        for (dataplane, number), cases in sorted(groups.items())
    ]


def _distinct(cases: Iterable[Case], read: Callable[[Case], T], made_at: Callable[[T], str]) -> tuple[T, ...]:
    """What the cells tell, once for each cell where it was made: a run that was gone on with proves again."""
    found: dict[str, T] = {}
    for case in cases:
        with suppress(Unreadable):
            each = read(case)
            found.setdefault(made_at(each), each)
    return tuple(found.values())


def _together(number: int, rounds: Sequence[_Round]) -> Proofs:
    made = [each for part in rounds for each in part.refusals if not each.not_made]
    asked = [each for part in rounds for each in part.canaries if not each.not_made]
    clocks = [each for part in rounds for each in part.clocks if each.connections and not each.stepped]
    return Proofs(
        dataplane=rounds[0].dataplane,
        round=number,
        rounds=len(rounds),
        refused=sum(not each.answer_bytes and each.growth["connects_denied"] == 1 for each in made),
        refusals=len(made),
        answered=sum(each.right for each in asked),
        canaries=len(asked),
        nonces=_nonces(rounds),
        clock=_clock(clocks) if clocks else None,
    )


def _nonces(rounds: Sequence[_Round]) -> NonceFigures:
    counts = dict.fromkeys(("tunnel_frames", "tunnel_hits", "plain_frames", "plain_hits"), 0)
    for case in (case for part in rounds for case in part.cells if case.crosses_nodes):
        kind = "tunnel" if case.tunnelled else "plain"
        with suppress(Unreadable):
            for heard in case.nonces.cell.values():
                counts[f"{kind}_frames"] += heard.frames
                counts[f"{kind}_hits"] += heard.hits
    controls = [each for part in rounds for each in part.controls if not each.no_control]
    hits = 0
    with suppress(Unreadable):
        hits = sum(each.control_hits for each in controls)
    return NonceFigures(control_hits=hits, **counts)


def _clock(samples: Sequence[Clock]) -> ClockFigures:
    def pooled(times: Callable[[Clock], list[float]]) -> list[float]:
        return [time for sample in samples for time in times(sample)]

    apart = pooled(Clock.offsets_ns)
    return ClockFigures(
        n=sum(len(sample.connections) for sample in samples),
        apart_p50=statistics.median(apart),
        apart_p90=percentile(np.abs(np.array(apart)), 0.9),
        sent_p50=statistics.median(pooled(Clock.sent_after_ns)),
        told_p50=statistics.median(pooled(Clock.told_after_ns)),
        answered_p50=statistics.median(pooled(Clock.answered_after_ns)),
        mapping_error=max(sample.error_ns for sample in samples),
    )
