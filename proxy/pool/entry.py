"""The tunnels of one key and the connections that wait for one: pure, the caller brings clock and tunnels."""

from __future__ import annotations

import ssl
from enum import Enum, auto
from math import inf
from typing import Final, Generic, TypeVar

from proxy.pool.decision import Use, View, Wait, decide
from proxy.pool.key import Key
from proxy.pool.life import Event, Life, PoolTunnel, State, event

LOSSES: Final = 2
"""Tunnels that a waiting connection may see lost before the peer's SETTINGS; with the last of them it fails.
One can be bad luck, as when the peer's proxy is replaced just then."""


class Request:
    """A connection that wants a stream."""

    __slots__ = ("context", "losses", "most", "opened_since")

    def __init__(self, context: ssl.SSLContext, most: int, opened_since: float = -inf) -> None:
        self.context = context
        """What it would open a tunnel with."""
        self.most = most
        """Streams that a tunnel may carry for it to be used."""
        self.opened_since = opened_since
        """As time.monotonic(); tunnels opened before it are not used."""
        self.losses = 0
        """Tunnels that were lost while it waited for them."""


R = TypeVar("R", bound=Request)


class NotOpened(Enum):
    """Why an opener has no tunnel."""

    FAILED = auto()
    """It cannot be had: those who wait would fare no better."""
    LOST = auto()
    """It was had and lost before it could carry a stream."""
    GIVEN_UP = auto()
    """Whoever opened it has gone, which says nothing about the destination."""


class Entry(Generic[R]):
    """What the pool knows of a key.

    Nobody waits where nothing is being opened: `place` and `next` then say use or open. `lives` has tunnels
    that are opening, ready or idle; one that drains or is gone takes no more streams and is forgotten here.
    """

    def __init__(self, key: Key, context: ssl.SSLContext) -> None:
        self.key = key
        self.context = context
        """What the key's source presents now."""
        self.lives: list[Life] = []
        self.waiting: list[R] = []
        """First come, first served."""
        self.peer_streams: int | None = None
        """Streams that the peer allows on a tunnel, by the last SETTINGS; None while not known."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to know."""
        return not (self.lives or self.waiting)

    @property
    def opening(self) -> int:
        """Tunnels that cannot carry streams yet."""
        return sum(life.state is State.OPENING for life in self.lives)

    # Connections.

    def place(self, request: R) -> Life | None:
        """The tunnel for a connection that has just come, or None: `waiting` is its place.

        A Life without a tunnel is new: the connection has to open it.
        """
        return self._place(request, len(self.waiting))

    def next(self) -> tuple[R, Life] | None:
        """The first of those who wait, with its tunnel, where it need not wait any longer."""
        if not self.waiting:
            return None
        life = self._place(self.waiting[0], len(self.waiting) - 1)
        return None if life is None else (self.waiting.pop(0), life)

    def _place(self, request: R, others: int) -> Life | None:
        ready, views, opening = [], [], 0
        most, opened_since = request.most, request.opened_since
        for life in self.lives:
            if life.opened_at < opened_since:
                continue
            tunnel = life.tunnel
            if tunnel is None or life.state is State.OPENING:
                opening += 1
            else:
                live = tunnel.live
                ready.append(life)
                views.append(View(live, min(most - live, tunnel.capacity), tunnel.stalled))
        per_tunnel = most if self.peer_streams is None else min(most, self.peer_streams)
        match decide(views, opening=opening, waiting=others, per_tunnel=per_tunnel):
            case Use(index):
                return ready[index]
            case Wait():
                return None
        life = Life(request.context)
        self.lives.append(life)
        return life

    # Tunnels.

    def changed(self, life: Life, tunnel: PoolTunnel, now: float) -> list[R]:
        """A life's tunnel says that something is different; who of those that wait fails by that."""
        before = life.state
        after = life.apply(event(tunnel), now)
        if after is before:
            return []
        if after is State.DRAINING or after is State.GONE:
            if life in self.lives:
                self.lives.remove(life)
            if before is State.OPENING:
                return self._failing(NotOpened.LOST if life.context is self.context else NotOpened.GIVEN_UP)
        elif before is State.OPENING:
            self.peer_streams = max(1, tunnel.live + tunnel.capacity)
        return []

    def not_opened(self, life: Life, why: NotOpened) -> list[R]:
        """An opener has no tunnel; who of those that wait fails by that."""
        life.apply(Event.OVER)
        self.lives.remove(life)
        return self._failing(why)

    def outdated(self, context: ssl.SSLContext) -> list[PoolTunnel]:
        """From now on the source presents `context`: tunnels that were opened with another, to be retired."""
        self.context = context
        return [life.tunnel for life in self.lives if life.context is not context and life.tunnel is not None]

    def _failing(self, why: NotOpened) -> list[R]:
        if why is NotOpened.LOST:
            for request in self.waiting:
                request.losses += 1
        if why is NotOpened.GIVEN_UP or self.opening:
            return []
        failing = [r for r in self.waiting if why is NotOpened.FAILED or r.losses >= LOSSES]
        self.waiting = [r for r in self.waiting if r not in failing]
        return failing
