"""The life of a tunnel: one state, and a table of what may follow what.

    OPEN ──RETIRED──▶ RETIRING ─────────┐
      │  └─ANNOUNCED─▶ ANNOUNCED ─BOUND─▶ DRAINING ──CLOSED──▶ CLOSING ──GONE──▶ OVER
      └─────BOUND──────────────────────▶┘
    any of them ──CLOSED──▶ CLOSING, ──GONE──▶ OVER

It only ever goes forward: what comes late leaves a state as it is. Which streams live is no part of it. The
same state serves the HTTP/2 connection, which knows of GOAWAY, and the tunnel, which knows of sockets.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a tunnel is in its life."""

    OPEN = "open"
    """Streams may be opened."""
    RETIRING = "retiring"
    """We open no more streams, and the peer is not told before the last one is over."""
    ANNOUNCED = "announced"
    """A server's GOAWAY without a bound is sent: requests that were under way are still taken."""
    DRAINING = "draining"
    """A GOAWAY with a bound was sent or received: no more streams; those that live go on."""
    CLOSING = "closing"
    """Our last GOAWAY is written: nothing is received or added, what waits is still delivered."""
    OVER = "over"
    """The connection is gone."""


class Event(StrEnum):
    """What happens to a tunnel."""

    RETIRED = "retired"
    """Its owner wants no more streams on it."""
    ANNOUNCED = "announced"
    """A server says that it will take no more streams (RFC 9113 6.8, the first of two GOAWAYs)."""
    BOUND = "bound"
    """Either side says which stream was the last."""
    CLOSED = "closed"
    """We end it: drained, by the owner's wish, or because the peer broke the protocol."""
    GONE = "gone"
    """The connection ended, by whomever."""


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPEN: {
        Event.RETIRED: State.RETIRING,
        Event.ANNOUNCED: State.ANNOUNCED,
        Event.BOUND: State.DRAINING,
        Event.CLOSED: State.CLOSING,
        Event.GONE: State.OVER,
    },
    State.RETIRING: {
        Event.RETIRED: State.RETIRING,
        Event.ANNOUNCED: State.ANNOUNCED,
        Event.BOUND: State.DRAINING,
        Event.CLOSED: State.CLOSING,
        Event.GONE: State.OVER,
    },
    State.ANNOUNCED: {
        Event.RETIRED: State.ANNOUNCED,
        Event.ANNOUNCED: State.ANNOUNCED,
        Event.BOUND: State.DRAINING,
        Event.CLOSED: State.CLOSING,
        Event.GONE: State.OVER,
    },
    State.DRAINING: {
        Event.RETIRED: State.DRAINING,
        Event.ANNOUNCED: State.DRAINING,
        Event.BOUND: State.DRAINING,
        Event.CLOSED: State.CLOSING,
        Event.GONE: State.OVER,
    },
    State.CLOSING: {
        Event.RETIRED: State.CLOSING,
        Event.ANNOUNCED: State.CLOSING,
        Event.BOUND: State.CLOSING,
        Event.CLOSED: State.CLOSING,
        Event.GONE: State.OVER,
    },
    State.OVER: dict.fromkeys(Event, State.OVER),
}

ENDED = frozenset({State.CLOSING, State.OVER})
"""Nothing is received any more, and no stream lives."""
ENDS_EMPTY = frozenset({State.RETIRING, State.DRAINING})
"""The end of the last stream is the end of the tunnel."""


class Life:
    """One tunnel's state."""

    __slots__ = ("ended", "state")

    def __init__(self) -> None:
        self.state = State.OPEN
        self.ended = False
        """Whether the state is one of `ENDED`, which is asked for every byte."""

    def apply(self, event: Event) -> bool:
        """Pass into the next state; whether it is another one."""
        before = self.state
        self.state = TRANSITIONS[before][event]
        self.ended = self.state in ENDED
        return self.state is not before
