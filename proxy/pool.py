"""Which tunnel a new connection uses: one that exists, a new one, or one that somebody is opening.

Invariants, whose names the tests bear:
- unique keys have unique connections: a tunnel serves one source identity, one set of expected
  identities, one source address and one destination; never anybody else.
- connections are reused: a tunnel with room is used before another is opened.
- one opener: whoever comes while a tunnel for its key is being opened waits for that one, as many
  as it will carry; when the opener fails, those who waited fail with it, at once.
- connection limits: no tunnel carries more streams than min(ours, the peer's SETTINGS); one that is
  full is used again when streams end.
- dead, draining and retired tunnels are never used; neither is one of an older certificate, nor, by
  whoever has just met a stale one, any that is as old.
- idle eviction: a tunnel without streams is closed after `idle_s`.
- without reuse each connection has a tunnel of its own; serialised, those of one key are opened one
  after another, as ztunnel does it under its lock.

Source: ztunnel src/proxy/pool.rs, whose key and numbers these are. Unlike there, waiters are woken when
the opener fails, and a full tunnel comes back.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import NamedTuple, Protocol

from proxy.config import Reuse
from proxy.hbone.events import Header
from proxy.identity.spiffe import SpiffeId
from proxy.state.model import IPAddress, SocketAddress
from proxy.telemetry import Stats
from proxy.tunnel.errors import TunnelLost
from proxy.tunnel.stream import TunnelStream


class Key(NamedTuple):
    """What a tunnel is for."""

    source: SpiffeId
    expected: frozenset[str]
    source_ip: IPAddress
    destination: SocketAddress


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

    def connect(self, headers: list[Header]) -> TunnelStream:
        """Open one."""

    def retire(self) -> None:
        """Close when the last stream is over."""

    def abort(self, reason: str) -> None:
        """Reset it."""


# The decision: pure.


class View(NamedTuple):
    """A tunnel as the decision sees it."""

    live: int
    room: int
    """How many more streams it may carry now; 0 while it is full, dead, draining or not ready."""


@dataclass(frozen=True, slots=True)
class Use:
    """Use the tunnel at this index."""

    index: int


@dataclass(frozen=True, slots=True)
class Open:
    """Open another."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for one that is being opened, or for room."""


def decide(views: Sequence[View], *, opening: int, waiting: int, per_tunnel: int) -> Use | Open | Wait:
    """What a new connection does.

    Args:
        views: The key's tunnels.
        opening: Tunnels that are being opened or wait for the peer's SETTINGS; each has its opener's stream.
        waiting: Connections that wait already.
        per_tunnel: Streams that one tunnel may carry, as far as known.
    """
    with_room = [index for index, view in enumerate(views) if view.room > 0]
    if with_room:
        # The fullest first: what is used least can then fall idle.
        return Use(max(with_room, key=lambda index: views[index].live))
    if waiting < opening * (per_tunnel - 1):
        return Wait()
    return Open()


def expired(idle_since: Sequence[float | None], *, now: float, idle_s: float) -> list[int]:
    """Which tunnels to close: those without a stream since `idle_s` or longer. None: in use."""
    return [index for index, since in enumerate(idle_since) if since is not None and now >= since + idle_s]


# The shell: asyncio.


@dataclass(slots=True, eq=False)
class _Pooled:
    tunnel: PoolTunnel
    context: ssl.SSLContext
    opened_at: float
    idle_since: float | None = None


@dataclass(slots=True)
class _Entry:
    tunnels: list[_Pooled] = field(default_factory=list)
    opening: int = 0
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the opener when tunnels are opened one after another."""
    queued: int = 0
    """Openers that hold the turn or wait for it."""

    @property
    def empty(self) -> bool:
        return not (self.tunnels or self.opening or self.waiters or self.queued)

    def wake(self) -> None:
        """Let all who wait decide again."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        """All who wait fail, as nobody is opening for them."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)


Opened = tuple[PoolTunnel, TunnelStream]
Opener = Callable[[], Awaitable[Opened]]


class Pool:
    """The tunnels of one pod."""

    def __init__(self, *, max_streams: int, idle_s: float, stats: Stats) -> None:
        self._max_streams = max_streams
        self._idle_s = idle_s
        self._stats = stats
        self._entries: dict[Key, _Entry] = {}
        self._all: dict[PoolTunnel, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        entries = self._entries.values()
        waiting = sum(len(entry.waiters) for entry in entries)
        opening = sum(entry.opening for entry in entries)
        return f"<pool: {len(self._all)} tunnels, {opening} opening, {self.live} streams, {waiting} waiting>"

    def __len__(self) -> int:
        """Tunnels that exist."""
        return len(self._all)

    @property
    def live(self) -> int:
        """Streams on them."""
        return sum(tunnel.live for tunnel in self._all)

    async def stream(
        self,
        key: Key,
        context: ssl.SSLContext,
        headers: list[Header],
        opener: Opener,
        *,
        reuse: Reuse,
        opened_since: float = -math.inf,
        per_tunnel: int | None = None,
    ) -> tuple[TunnelStream, bool]:
        """A stream that was just asked for, and whether its tunnel was there before.

        Args:
            context: What the key's source presents now; tunnels of an older certificate are retired.
            opener: Opens a tunnel with these headers' stream on it; called at most once.
            opened_since: Loop time; tunnels opened before it are not used. One of them turned out stale,
                so the others may be, too.
            per_tunnel: Most streams on a tunnel; None: the pool's own limit.

        Raises:
            TunnelLost: The pool is closed.
            Exception: Whatever the opener raised, ours or the one that we waited for.
        """
        self._stats.streams_asked += 1
        match reuse:
            case Reuse.OFF:
                return await self._alone(opener), False
            case Reuse.OFF_SERIALISED:
                return await self._alone_in_turn(key, opener), False
        most = per_tunnel or self._max_streams
        while not self._closed:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry()
            elif self._retire_outdated(entry, context):
                continue  # that may have left the key without an entry
            match self._decide(entry, opened_since, most):
                case Use(index):
                    self._stats.streams_on_pooled_tunnels += 1
                    return entry.tunnels[index].tunnel.connect(headers), True
                case Open():
                    return await self._open(key, entry, context, opener), False
                case Wait():
                    await self._wait(key, entry)
        raise TunnelLost("the pod's tunnels are closed")

    async def _alone(self, opener: Opener) -> TunnelStream:
        """A tunnel for one stream, which closes with it."""
        tunnel, stream = await opener()
        self._keep(tunnel, None)
        tunnel.retire()
        return stream

    async def _alone_in_turn(self, key: Key, opener: Opener) -> TunnelStream:
        entry = self._entries.setdefault(key, _Entry())
        entry.queued += 1
        begun_ns = monotonic_ns() if entry.queued > 1 else None
        try:
            async with entry.turn:
                if begun_ns is not None:
                    self._waited(begun_ns)
                return await self._alone(opener)
        finally:
            entry.queued -= 1
            self._forget_if_empty(key, entry)

    def drop_tunnels(self) -> None:
        """Retire every tunnel: idle ones close now, others with their last stream."""
        for tunnel in list(self._all):
            tunnel.retire()

    def retire_outdated(self, source: SpiffeId, context: ssl.SSLContext) -> None:
        """Retire the source's tunnels that were opened with another context than this.

        One that is being opened just now is retired when the next stream asks.
        """
        for entry in [entry for key, entry in self._entries.items() if key.source == source]:
            self._retire_outdated(entry, context)

    async def close(self, deadline_s: float) -> None:
        """As `drop_tunnels`, and reset at the deadline what lives still. Nothing is opened any more."""
        self._closed = True
        for entry in self._entries.values():
            entry.wake()
        self.drop_tunnels()
        if self._all and deadline_s > 0:
            over = asyncio.get_running_loop().create_future()
            self._on_empty = lambda: None if over.done() else over.set_result(None)
            await asyncio.wait([over], timeout=deadline_s)
        for tunnel in list(self._all):
            tunnel.abort("proxy is shutting down")
        if self._sweeper is not None:
            self._sweeper.cancel()

    _on_empty: Callable[[], None] = staticmethod(lambda: None)

    def _decide(self, entry: _Entry, opened_since: float, most: int) -> Use | Open | Wait:
        views = [
            View(item.tunnel.live, _room(item.tunnel, most) if item.opened_at >= opened_since else 0)
            for item in entry.tunnels
        ]
        unready = sum(not item.tunnel.ready and item.tunnel.usable for item in entry.tunnels)
        return decide(
            views,
            opening=entry.opening + unready,
            waiting=sum(not waiter.done() for waiter in entry.waiters),
            per_tunnel=most,
        )

    def _retire_outdated(self, entry: _Entry, context: ssl.SSLContext) -> bool:
        """Whether there was any."""
        outdated = [item for item in entry.tunnels if item.context is not context and item.tunnel.usable]
        for item in outdated:
            item.tunnel.retire()
        return bool(outdated)

    async def _open(self, key: Key, entry: _Entry, context: ssl.SSLContext, opener: Opener) -> TunnelStream:
        entry.opening += 1
        try:
            tunnel, stream = await opener()
        except Exception as exc:
            entry.opening -= 1
            if entry.opening:
                entry.wake()
            else:
                entry.fail(exc)
            self._forget_if_empty(key, entry)
            raise
        except BaseException:
            # Cancelled: the app has gone, which says nothing about the destination.
            entry.opening -= 1
            entry.wake()
            self._forget_if_empty(key, entry)
            raise
        entry.opening -= 1
        item = _Pooled(tunnel, context, asyncio.get_running_loop().time())
        entry.tunnels.append(item)
        self._keep(tunnel, (key, entry, item))
        return stream

    async def _wait(self, key: Key, entry: _Entry) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry.waiters.append(waiter)
        begun_ns = monotonic_ns()
        try:
            await waiter
        finally:
            self._waited(begun_ns)
            entry.waiters.remove(waiter)
            self._forget_if_empty(key, entry)

    def _waited(self, begun_ns: int) -> None:
        self._stats.pool_waits += 1
        self._stats.pool_waits_ns += monotonic_ns() - begun_ns

    def _keep(self, tunnel: PoolTunnel, place: tuple[Key, _Entry, _Pooled] | None) -> None:
        self._all[tunnel] = None
        self._stats.tunnels_opened += 1
        self._stats.tunnels_outbound += 1
        tunnel.on_closed = lambda: self._over(tunnel, place)
        if place is not None:
            tunnel.on_change = lambda: self._changed(*place)
        if tunnel.over:
            self._over(tunnel, place)
        elif self._closed:
            tunnel.retire()
        elif place is not None:
            self._changed(*place)  # it may be ready already, or lost

    def _changed(self, key: Key, entry: _Entry, item: _Pooled) -> None:
        usable = item.tunnel.usable
        if not usable and item in entry.tunnels:
            entry.tunnels.remove(item)
            reason = item.tunnel.close_reason
            if reason is not None and not item.tunnel.ready and not entry.opening and not entry.tunnels:
                entry.fail(TunnelLost(reason))
        entry.wake()
        now = asyncio.get_running_loop().time()
        item.idle_since = None if item.tunnel.live else (item.idle_since or now)
        if item.idle_since is not None and usable:
            self._sweep_later()
        self._forget_if_empty(key, entry)

    def _over(self, tunnel: PoolTunnel, place: tuple[Key, _Entry, _Pooled] | None) -> None:
        if self._all.pop(tunnel, self) is self:
            return
        self._stats.tunnels_closed += 1
        if tunnel.fault is not None:
            self._stats.faults[tunnel.fault] += 1
        self._stats.tunnels_outbound -= 1
        if place is not None:
            self._changed(*place)
        if not self._all:
            self._on_empty()

    def _forget_if_empty(self, key: Key, entry: _Entry) -> None:
        if entry.empty and self._entries.get(key) is entry:
            del self._entries[key]

    # Idle tunnels.

    def _sweep_later(self) -> None:
        if self._sweeper is not None or self._closed:
            return
        since = [item.idle_since for item in self._pooled() if item.idle_since is not None]
        if since:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_at(min(since) + self._idle_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        pooled = self._pooled()
        now = asyncio.get_running_loop().time()
        for index in expired([item.idle_since for item in pooled], now=now, idle_s=self._idle_s):
            pooled[index].tunnel.retire()
        self._sweep_later()

    def _pooled(self) -> list[_Pooled]:
        return [item for entry in self._entries.values() for item in entry.tunnels]


def _room(tunnel: PoolTunnel, most: int) -> int:
    """How many more of at most so many streams a tunnel may carry now."""
    if not tunnel.ready or not tunnel.usable:
        return 0
    return max(0, min(most - tunnel.live, tunnel.capacity))
