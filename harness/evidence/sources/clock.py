"""The load's own times of some connections beside the kernel's stamps of their packets; once a round.

Packets are stamped on CLOCK_REALTIME, the load reads CLOCK_MONOTONIC. Both were read in turn before and
after; half a bracket's width is how well one is known in terms of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """CLOCK_REALTIME read between two readings of CLOCK_MONOTONIC, ns."""

    before_ns: int
    wall_ns: int
    after_ns: int

    @property
    def offset_ns(self) -> float:
        """Wall minus monotonic."""
        return self.wall_ns - (self.before_ns + self.after_ns) / 2

    @property
    def error_ns(self) -> float:
        """At most so far is `offset_ns` from the truth."""
        return (self.after_ns - self.before_ns) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One connection's moments: the load's on CLOCK_MONOTONIC, the kernel's on CLOCK_REALTIME, ns."""

    start_ns: int
    syn_ns: int
    syn_ack_ns: int
    connected_ns: int
    answer_ns: int
    first_byte_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The sample."""

    cell: str
    """The cell at whose start it was taken; others of the round refer to it."""
    link: str
    """Where the packets were stamped: `lo` of a captured pod, else the pod's own link."""
    asked: int
    """Connections made."""
    connections: tuple[Connection, ...]
    """Those whose packets were all seen on the link."""
    before: Bracket
    after: Bracket

    @property
    def step_ns(self) -> float:
        """How far the wall's clock moved against the monotonic one while the sample was taken."""
        return self.after.offset_ns - self.before.offset_ns

    @property
    def error_ns(self) -> float:
        """How well a stamp is known on CLOCK_MONOTONIC."""
        return max(self.before.error_ns, self.after.error_ns) + abs(self.step_ns) / 2

    @property
    def stepped(self) -> bool:
        """Whether the wall's clock was set meanwhile: its stamps then mean nothing to the load's times."""
        return abs(self.step_ns) > self.before.error_ns + self.after.error_ns + STEP_NS

    def sent_after_ns(self) -> list[float]:
        """Each SYN's stamp after the load's time before `connect`."""
        return [self._monotonic(each.syn_ns) - each.start_ns for each in self.connections]

    def told_after_ns(self) -> list[float]:
        """The load's time after `connect` after each SYN-ACK's stamp."""
        return [each.connected_ns - self._monotonic(each.syn_ack_ns) for each in self.connections]

    def answered_after_ns(self) -> list[float]:
        """The load's time of the first byte after the stamp of the packet that brought it."""
        return [each.first_byte_ns - self._monotonic(each.answer_ns) for each in self.connections]

    def offsets_ns(self) -> list[float]:
        """How far the two clocks are apart, by each connection of the quicker half.

        As NTP tells it (RFC 5905, sections 8 and 10): half the difference of what passes on the way out and
        on the way back, from the exchanges that took least. What the machine takes for either way is in
        neither clock; a process that waited for a processor waited on one way alone.
        """
        ways = sorted(zip(self.sent_after_ns(), self.told_after_ns(), strict=True), key=sum)
        return [(out - back) / 2 for out, back in ways[: (len(ways) + 1) // 2]]

    def _monotonic(self, wall_ns: int) -> float:
        return wall_ns - (self.before.offset_ns + self.after.offset_ns) / 2


STEP_NS = 500
"""What two brackets may differ by beyond their own errors: CLOCK_REALTIME runs at CLOCK_MONOTONIC's rate and
differs from it by a constant until it is set (clock_settime(2))."""

MOMENTS = ("start_ns", "syn_ns", "syn_ack_ns", "connected_ns", "answer_ns", "first_byte_ns")


def collect(
    cell: str, *, link: str, load: Sequence[Mapping[str, int]], stamped: Mapping[str, Any]
) -> dict[str, Any]:
    """The document.

    Args:
        load: Per connection `local_port`, `start_ns`, `connected_ns`, `first_byte_ns`.
        stamped: The agent's reply of that name.
    """
    seen = stamped["connections"]
    return new(
        NAME,
        cell=cell,
        link=link,
        asked=len(load),
        before=stamped["before"],
        after=stamped["after"],
        connections=[
            {name: {**each, **seen[str(each["local_port"])]}[name] for name in MOMENTS}
            for each in load
            if str(each["local_port"]) in seen
        ],
    )


def read(documents: Mapping[str, Any]) -> Clock:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Clock(
        cell=fields.text("cell"),
        link=fields.text("link"),
        asked=fields.integer("asked"),
        connections=tuple(
            Connection(**{name: each.integer(name) for name in MOMENTS})
            for each in fields.children("connections")
        ),
        before=_bracket(fields.child("before")),
        after=_bracket(fields.child("after")),
    )


def _bracket(fields: Fields) -> Bracket:
    return Bracket(
        before_ns=fields.integer("before_ns"),
        wall_ns=fields.integer("wall_ns"),
        after_ns=fields.integer("after_ns"),
    )
