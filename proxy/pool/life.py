"""The life of a pooled tunnel: one state, and a table of what may follow what.

    OPENING ──TAKEN──▶ READY ◀──TAKEN── IDLE ◀──EMPTY── OPENING
       │                 └─────EMPTY─────▶┘
       └──CLOSING──▶ DRAINING ◀──CLOSING── READY, IDLE
    any of them ──OVER──▶ GONE

A tunnel says that something changed, not what; `event` reads it from the tunnel. Hence the same event may
come twice, and each state has it as a transition to itself.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from enum import StrEnum
from math import inf
from typing import Protocol

from proxy.hbone.events import Header
from proxy.tunnel.stream import TunnelStream


class PoolTunnel(Protocol):
    """What the pool needs of a tunnel."""

    on_change: Callable[[], None]
    on_closed: Callable[[], None]
    close_reason: str | None
    fault: str | None

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    @property
    def ready(self) -> bool:
        """Whether the peer's SETTINGS came."""

    @property
    def usable(self) -> bool:
        """Whether streams may be opened, now or later."""

    @property
    def live(self) -> int:
        """Streams on it."""

    @property
    def capacity(self) -> int:
        """Streams that the peer would take; none where the tunnel is not usable."""

    @property
    def stalled(self) -> bool:
        """Whether the window that all of its streams share is used up, because readers are slow."""

    def connect(self, headers: list[Header]) -> TunnelStream:
        """Open a stream."""

    def retire(self) -> None:
        """Close when the last stream is over."""

    def abort(self, reason: str) -> None:
        """Reset it."""


class State(StrEnum):
    """Where a tunnel is in its life."""

    OPENING = "opening"
    """Dialled or shaking hands, or its first stream is asked for and the peer's SETTINGS are awaited."""
    READY = "ready"
    """Carries streams, and takes more where there is room."""
    IDLE = "idle"
    """Carries none."""
    DRAINING = "draining"
    """Takes no more streams; those that live go on."""
    GONE = "gone"


class Event(StrEnum):
    """What happens to a tunnel."""

    GREETED = "greeted"
    """Its handshake is complete; the peer's SETTINGS have not come."""
    TAKEN = "taken"
    """It can carry streams, and does."""
    EMPTY = "empty"
    """It can carry streams; none is left."""
    CLOSING = "closing"
    """It takes no more: GOAWAY, retired by us, or on its way to the end."""
    OVER = "over"
    """It has ended, or never came about."""


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPENING: {
        Event.GREETED: State.OPENING,
        Event.TAKEN: State.READY,
        Event.EMPTY: State.IDLE,
        Event.CLOSING: State.DRAINING,
        Event.OVER: State.GONE,
    },
    State.READY: {
        Event.TAKEN: State.READY,
        Event.EMPTY: State.IDLE,
        Event.CLOSING: State.DRAINING,
        Event.OVER: State.GONE,
    },
    State.IDLE: {
        Event.TAKEN: State.READY,
        Event.EMPTY: State.IDLE,
        Event.CLOSING: State.DRAINING,
        Event.OVER: State.GONE,
    },
    State.DRAINING: {
        Event.CLOSING: State.DRAINING,
        Event.OVER: State.GONE,
    },
    State.GONE: {
        Event.OVER: State.GONE,
    },
}


class ImpossibleEvent(Exception):
    """A tunnel did what the table does not know: a bug of ours."""


class Life:
    """A tunnel of the pool, from the moment at which somebody begins to open it."""

    __slots__ = ("context", "idle_since", "opened_at", "state", "tunnel")

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        """What the source presents on it; None where nobody shares it."""
        self.state = State.OPENING
        self.tunnel: PoolTunnel | None = None
        """None while it is dialled and shakes hands."""
        self.opened_at = inf
        """When its handshake was complete, as time.monotonic(): uvloop's own time stands still for a turn."""
        self.idle_since: float | None = None
        """Loop time of the end of its last stream; None unless the state is IDLE."""

    def __repr__(self) -> str:
        return f"<{self.state} {self.tunnel!r}>"

    def opened(self, tunnel: PoolTunnel, now: float) -> None:
        """Its handshake is complete, and its opener's stream is asked for."""
        self.tunnel, self.opened_at = tunnel, now

    def apply(self, event: Event, now: float = inf) -> State:
        """Pass into the next state, which is returned.

        Args:
            now: Loop time; it matters where the tunnel may fall idle.

        Raises:
            ImpossibleEvent: The event cannot happen in this state.
        """
        before = self.state
        try:
            after = self.state = TRANSITIONS[before][event]
        except KeyError:
            raise ImpossibleEvent(f"tunnel {self.tunnel!r} is {before} and cannot be {event}") from None
        if after is not before:
            self.idle_since = now if after is State.IDLE else None
        return after


def event(tunnel: PoolTunnel) -> Event:
    """What a tunnel that changed has come to."""
    if not tunnel.usable:
        return Event.OVER if tunnel.over else Event.CLOSING
    if not tunnel.ready:
        return Event.GREETED
    return Event.TAKEN if tunnel.live else Event.EMPTY
