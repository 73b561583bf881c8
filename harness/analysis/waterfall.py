"""What the first packet pays, and to whom: its time to first byte, cut at the stamps of everyone on its way.

A phase is the time from one stamp to the next, in the order in which things happen, each taken before what
it stamps goes on; all are CLOCK_MONOTONIC of one kernel. A phase between two processes is put down to
neither: it holds what the first does to send, the kernel's work, and what the next does until its stamp: to
wake up, to decrypt, to read a frame. What no two stamps in order explain is the rest; phases and rest add up
to the client's own time, sample by sample.

Medians of phases would not add up to the median of the whole. So each phase is a mean over the same samples:
the middle half, those whose whole time lies between the quartiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.judge import JudgedCell, by_configuration
from harness.analysis.statistics import Estimate, estimate, samples_needed
from harness.evidence.case import Case
from harness.evidence.checks.first_packets import JOIN_RATE
from harness.evidence.joined import Joined, join
from harness.evidence.model import Check, CheckStatus
from harness.plan.model import Configuration, State

UNEXPLAINED = 0.10
"""Share of the whole, at the median sample, above which the rest is flagged."""
NEEDED = samples_needed(0.75)
"""First packets for quartiles."""

Times = NDArray[np.float64]


class Owner(StrEnum):
    """Whose time a phase is."""

    BETWEEN = "between processes"
    SOURCE = "source proxy"
    TUNNEL = "tunnel set-up"
    DESTINATION = "destination proxy"
    BACKEND = "the app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What goes on until a stamp, since the one before it."""

    name: str
    owner: Owner
    who: str
    """`client`, `source` or `destination`: whose stamp ends it."""
    step: str
    cold: bool = False
    """Whether it exists for a connection that opens its tunnel alone."""


def _phase(name: str, owner: Owner, who: str, step: str, *, cold: bool = False) -> Phase:
    return Phase(name=name, owner=owner, who=who, step=step, cold=cold)


def _captured(who: str, owner: Owner) -> tuple[Phase, ...]:
    return (
        _phase("client's connect", Owner.BETWEEN, "client", "connected_ns"),
        _phase("captured", Owner.BETWEEN, who, "accepted_ns"),
        _phase("original destination", owner, who, "original_destination_ns"),
    )


def _carried(who: str, owner: Owner) -> tuple[Phase, ...]:
    return (
        _phase("request read", owner, who, "first_sent_ns"),
        _phase("app answers", Owner.BACKEND, who, "first_received_ns"),
        RECEIVED,
    )


RECEIVED = _phase("received by the client", Owner.BETWEEN, "client", "first_byte_ns")
_SOURCE = (
    *_captured("source", Owner.SOURCE),
    _phase("route", Owner.SOURCE, "source", "route_ns"),
)
TUNNELLED = (
    *_SOURCE,
    _phase("pool wait", Owner.SOURCE, "source", "pool_ns"),
    _phase("TCP", Owner.TUNNEL, "source", "tcp_ns", cold=True),
    _phase("TLS at the source", Owner.TUNNEL, "source", "tls_ns", cold=True),
    _phase("CONNECT sent", Owner.SOURCE, "source", "connect_sent_ns"),
    _phase("TLS at the destination", Owner.TUNNEL, "destination", "tunnel_ns", cold=True),
    _phase("CONNECT received", Owner.BETWEEN, "destination", "accepted_ns"),
    _phase("policy at the destination", Owner.DESTINATION, "destination", "policy_ns"),
    _phase("app connect", Owner.DESTINATION, "destination", "app_connect_ns"),
    _phase("200 sent", Owner.DESTINATION, "destination", "answered_ns"),
    _phase("200 received", Owner.BETWEEN, "source", "connect_ns"),
    _phase("request read", Owner.SOURCE, "source", "first_sent_ns"),
    _phase("request at the destination", Owner.BETWEEN, "destination", "first_sent_ns"),
    _phase("app answers", Owner.BACKEND, "destination", "first_received_ns"),
    _phase("first byte back", Owner.BETWEEN, "source", "first_received_ns"),
    RECEIVED,
)
HANDED_OVER = (
    *_SOURCE,
    _phase("policy at the destination", Owner.SOURCE, "source", "policy_ns"),
    _phase("app connect", Owner.SOURCE, "source", "app_connect_ns"),
    *_carried("source", Owner.SOURCE),
)
PASSED_ON = (
    *_SOURCE,
    _phase("connect to the target", Owner.SOURCE, "source", "tcp_ns"),
    *_carried("source", Owner.SOURCE),
)
COME_IN = (
    *_captured("destination", Owner.DESTINATION),
    _phase("policy at the destination", Owner.DESTINATION, "destination", "policy_ns"),
    _phase("app connect", Owner.DESTINATION, "destination", "app_connect_ns"),
    *_carried("destination", Owner.DESTINATION),
)
DIRECT = (
    _phase("client's connect", Owner.BETWEEN, "client", "connected_ns"),
    _phase("request sent", Owner.BETWEEN, "client", "sent_ns"),
    _phase("app answers", Owner.BACKEND, "client", "first_byte_ns"),
)


def chain(case: Case, state: State) -> tuple[Phase, ...]:
    """The phases of a cell's first packets, in their order."""
    if case.tunnelled:
        return tuple(phase for phase in TUNNELLED if state is State.COLD or not phase.cold)
    if case.handed_over:
        return HANDED_OVER
    if case.outbound_proxy is not None:
        return PASSED_ON
    return DIRECT if case.inbound_proxy is None else COME_IN


def durations(joined: Joined, phases: Sequence[Phase]) -> list[int]:
    """Nanoseconds of each phase, and of the rest at the end.

    A phase whose end or beginning was not stamped, or that ends before it begins, is 0: its time is in the
    rest, which is negative where phases that overlap claim more than there was.
    """
    found: list[int] = []
    before: int | None = joined.packet.start_ns
    for phase in phases:
        moment = _moment(joined, phase)
        found.append(max(0, moment - before) if moment is not None and before is not None else 0)
        before = moment
    return [*found, joined.packet.first_byte_ns - joined.packet.start_ns - sum(found)]


def _moment(joined: Joined, phase: Phase) -> int | None:
    if phase.who == "client":
        moment = int(getattr(joined.packet, phase.step))
        first = joined.source or joined.destination
        if phase.step == "connected_ns" and first is not None:
            # the proxy may accept before connect() has returned: neither waits for the other
            return min(moment, first.accepted_ns)
        return moment
    entry = joined.source if phase.who == "source" else joined.destination
    if entry is None:
        return None
    return entry.accepted_ns if phase.step == "accepted_ns" else entry.stamps.get(phase.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One phase of a waterfall."""

    phase: Phase
    mean_s: float
    """Over the samples of the middle half."""
    rounds: Estimate
    """The same of each round on its own, with its interval over rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The first packets of one state of one configuration."""

    configuration: Configuration
    state: State
    n: int
    """First packets, of valid cells."""
    joined: int
    """Of these, those that were found at every hop."""
    band: int = 0
    """Of these, the middle half."""
    median_s: float = 0.0
    """Of the whole time, over all that were joined."""
    total_s: float = 0.0
    """Mean of the whole time over the middle half: what phases and rest add up to."""
    shares: tuple[Share, ...] = ()
    rest_s: float = 0.0
    rest_share: float = 0.0
    """Median over all that were joined of what is unexplained of a sample, whatever its sign."""
    why_not: str = ""
    """Why it is not shown; empty where it is."""

    def owned_s(self, owner: Owner) -> float:
        """What one owner is paid."""
        return sum(share.mean_s for share in self.shares if share.phase.owner is owner)

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "configuration": self.configuration.key,
            "state": self.state.value,
            "n": self.n,
            "joined": self.joined,
            "middle_half": self.band,
            "median_s": self.median_s,
            "total_s": self.total_s,
            "phases": [
                {
                    "phase": share.phase.name,
                    "owner": share.phase.owner.value,
                    "mean_s": share.mean_s,
                    "rounds": share.rounds.document(),
                }
                for share in self.shares
            ],
            "rest_s": self.rest_s,
            "rest_share": self.rest_share,
            "why_not": self.why_not,
        }


def waterfalls(cells: Iterable[JudgedCell]) -> tuple[Waterfall, ...]:
    """One for each configuration and first state, shown or not."""
    found = []
    for configuration, group in by_configuration(cells):
        usable = [cell for cell in group if cell.usable]
        rounds = [(cell.case, _joined(cell.case)) for cell in usable]
        for state in (each for each in configuration.states if each is not State.STEADY):
            of_state = [
                (case, [each for each in joins if each.packet.state == state]) for case, joins in rounds
            ]
            found.append(_waterfall(configuration, state, of_state))
    return tuple(found)


def _joined(case: Case) -> tuple[Joined, ...]:
    """Nothing where the data plane keeps no journal; of a valid cell it can be read, or does not exist."""
    if case.journal.unproven & {case.outbound_proxy, case.inbound_proxy}:
        return ()
    return join(case)


def _waterfall(
    configuration: Configuration, state: State, rounds: Sequence[tuple[Case, Sequence[Joined]]]
) -> Waterfall:
    n = sum(len(joins) for _, joins in rounds)
    whole = [(case, [each for each in joins if not each.broken]) for case, joins in rounds]
    joined = sum(len(joins) for _, joins in whole)
    why_not = _why_not(configuration, rounds, n, joined)
    if not joined:
        return Waterfall(configuration=configuration, state=state, n=n, joined=joined, why_not=why_not)
    phases = chain(rounds[0][0], state)
    by_round = [
        np.array([durations(each, phases) for each in joins], dtype=float) / 1e9
        for _, joins in whole
        if joins
    ]
    cuts = np.concatenate(by_round)
    totals = cuts.sum(axis=1)
    middle = middle_half(cuts)
    means = middle.mean(axis=0)
    each_round = np.array([middle_half(of_round).mean(axis=0) for of_round in by_round])
    return Waterfall(
        configuration=configuration,
        state=state,
        n=n,
        joined=joined,
        band=len(middle),
        median_s=float(np.median(totals)),
        total_s=float(means.sum()),
        shares=tuple(
            Share(phase=phase, mean_s=float(means[i]), rounds=estimate(each_round[:, i]))
            for i, phase in enumerate(phases)
        ),
        rest_s=float(means[-1]),
        rest_share=float(np.median(np.abs(cuts[:, -1]) / totals)),
        why_not=why_not,
    )


def middle_half(cuts: Times) -> Times:
    """The rows whose sum lies between the quartiles of all sums."""
    totals = cuts.sum(axis=1)
    low, high = np.quantile(totals, (0.25, 0.75), method="closest_observation")
    middle: Times = cuts[(totals >= low) & (totals <= high)]
    return middle


def _why_not(
    configuration: Configuration, rounds: Sequence[tuple[Case, Sequence[Joined]]], n: int, joined: int
) -> str:
    if not rounds:
        return "no valid cell"
    case = rounds[0][0]
    if case.journal.unproven & {case.outbound_proxy, case.inbound_proxy}:
        return f"{configuration.dataplane} keeps no times of single connections"
    if joined < JOIN_RATE * n:
        return f"{joined} of {n} first packets were found at every hop, {JOIN_RATE:.1%} are needed"
    return f"{joined} first packets, {NEEDED} are needed" if joined < NEEDED else ""


def reconciliation(found: Sequence[Waterfall]) -> Check:
    """Whether phases and clients' own times agree, over all that were joined."""
    name = "first-packets-add-up"
    measured = [each for each in found if each.joined]
    if not measured:
        return Check(
            name=name, status=CheckStatus.NOT_APPLICABLE, reason="no first packet was cut into its phases"
        )
    worst = max(measured, key=lambda each: each.rest_share)
    numbers = {f"{each.configuration.key} {each.state.value}": round(each.rest_share, 4) for each in measured}
    flagged = [each for each in measured if each.rest_share > UNEXPLAINED]
    where = f"{worst.configuration.key}, {worst.state.value}"
    if flagged:
        reason = (
            f"at the median {worst.rest_share:.1%} of a first packet's time is in no phase ({where}); "
            f"{UNEXPLAINED:.0%} may be: stamps are missing or out of order there"
        )
        return Check(name=name, status=CheckStatus.INVALID, reason=reason, numbers=numbers)
    reason = f"at the median at most {worst.rest_share:.2%} of a first packet's time is in no phase ({where})"
    return Check(name=name, status=CheckStatus.VALID, reason=reason, numbers=numbers)
