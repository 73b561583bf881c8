"""The shell: awaits openers, wakes those who wait, hears of tunnels' changes, closes idle ones."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic, monotonic_ns
from typing import Final

from h2.errors import ErrorCodes

from proxy.config import Reuse
from proxy.hbone.events import Header
from proxy.identity.spiffe import SpiffeId
from proxy.pool.decision import expired
from proxy.pool.entry import Entry, NotOpened, Request
from proxy.pool.key import Key
from proxy.pool.life import Event, Life, PoolTunnel, State, event
from proxy.pool.turns import Turns
from proxy.telemetry import Stats
from proxy.tunnel.errors import TunnelLost
from proxy.tunnel.stream import TunnelStream

Opener = Callable[[], Awaitable[tuple[PoolTunnel, TunnelStream]]]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A stream was opened on a tunnel that was there."""

    stream: TunnelStream


@dataclass(frozen=True, slots=True)
class _Opens:
    """It is its turn to open a tunnel."""

    life: Life


@dataclass(frozen=True, slots=True)
class _Fails:
    """What it waited for failed."""

    error: Exception


class _Waiting(Request):
    """A connection that may have to wait."""

    __slots__ = ("headers", "outcome")

    def __init__(
        self, context: ssl.SSLContext, most: int, opened_since: float, headers: list[Header]
    ) -> None:
        super().__init__(context, most, opened_since)
        self.headers = headers
        self.outcome: asyncio.Future[_Placed | _Opens | _Fails]


class Pool:
    """The tunnels of one pod."""

    def __init__(self, *, max_streams: int, idle_s: float, stats: Stats) -> None:
        self._max_streams = max_streams
        self._idle_s = idle_s
        self._stats = stats
        self._entries: dict[Key, Entry[_Waiting]] = {}
        self._lives: dict[PoolTunnel, Life] = {}
        """Every tunnel that is not gone, shared or not."""
        self._turns = Turns()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None
        """Awaited by `close`: no tunnel is left."""

    def __repr__(self) -> str:
        entries = self._entries.values()
        waiting = sum(len(entry.waiting) for entry in entries)
        opening = sum(life.tunnel is None for entry in entries for life in entry.lives)
        return f"<pool: {len(self)} tunnels, {opening} opening, {self.live} streams, {waiting} waiting>"

    def __len__(self) -> int:
        """Tunnels that exist."""
        return len(self._lives)

    @property
    def live(self) -> int:
        """Streams on them."""
        return sum(tunnel.live for tunnel in self._lives)

    async def stream(
        self,
        key: Key,
        context: ssl.SSLContext,
        headers: list[Header],
        opener: Opener,
        *,
        reuse: Reuse,
        opened_since: float = -inf,
        per_tunnel: int | None = None,
    ) -> tuple[TunnelStream, bool]:
        """A stream that was just asked for, and whether its tunnel was there before.

        Args:
            context: What the key's source presents now; tunnels of an older certificate are retired.
            opener: Opens a tunnel with these headers' stream on it; called at most once.
            opened_since: As time.monotonic(); tunnels opened before it are not used. One of them turned out
                stale, so others of its age may be, too.
            per_tunnel: Most streams on a tunnel; None: the pool's own limit.

        Raises:
            TunnelLost: The pool is closed; or what was waited for was lost twice before it could be used.
            Exception: Whatever the opener raised, ours or the one that was waited for.
        """
        self._stats.streams_asked += 1
        if reuse is Reuse.OFF:
            return await self._alone(opener), False
        if reuse is Reuse.OFF_SERIALISED:
            return await self._alone_in_turn(key, opener), False
        if self._closed:
            raise TunnelLost(CLOSED)
        entry = self._entries.get(key)
        if entry is not None and entry.context is not context:
            self._renew(entry, context)
            entry = self._entries.get(key)  # the last of its tunnels may have gone
        if entry is None:
            entry = self._entries[key] = Entry(key, context)
        request = _Waiting(context, per_tunnel or self._max_streams, opened_since, headers)
        life = entry.place(request)
        if life is None:
            match await self._wait(entry, request):
                case _Placed(stream):
                    return stream, True
                case _Fails(error):
                    raise _another(error)
                case _Opens(life):
                    pass
        elif life.tunnel is not None:
            return self._take(life, life.tunnel, headers), True
        return await self._open(entry, life, opener), False

    def drop_tunnels(self) -> None:
        """Retire every tunnel: idle ones close now, others with their last stream."""
        for tunnel in list(self._lives):
            tunnel.retire()

    def retire_outdated(self, source: SpiffeId, context: ssl.SSLContext) -> None:
        """Retire the source's tunnels that were opened with another context than this."""
        for entry in [entry for key, entry in self._entries.items() if key.source == source]:
            self._renew(entry, context)

    async def close(self, deadline_s: float) -> None:
        """As `drop_tunnels`, and reset at the deadline what lives still. Nothing is opened any more."""
        self._closed = True
        for entry in list(self._entries.values()):
            failing, entry.waiting = entry.waiting, []
            _fail(failing, TunnelLost(CLOSED))
            self._forget_if_empty(entry)
        self.drop_tunnels()
        if self._lives and deadline_s > 0:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=deadline_s)
        for tunnel in list(self._lives):
            tunnel.abort("proxy is shutting down")
        if self._sweeper is not None:
            self._sweeper.cancel()

    # Without reuse.

    async def _alone(self, opener: Opener) -> TunnelStream:
        """A tunnel for one stream, which closes with it."""
        tunnel, stream = await opener()
        life = Life(None)
        life.opened(tunnel, monotonic())
        self._keep(tunnel, life, partial(self._alone_changed, tunnel, life))
        tunnel.retire()
        return stream

    def _alone_changed(self, tunnel: PoolTunnel, life: Life) -> None:
        before = life.state
        after = life.apply(event(tunnel))
        if after is State.GONE and after is not before:
            self._gone(tunnel)

    async def _alone_in_turn(self, key: Key, opener: Opener) -> TunnelStream:
        begun_ns = monotonic_ns() if self._turns.taken(key) else None
        async with self._turns.turn(key):
            if begun_ns is not None:
                self._waited(begun_ns)
            return await self._alone(opener)

    # A tunnel that is there, or will be.

    def _take(self, life: Life, tunnel: PoolTunnel, headers: list[Header]) -> TunnelStream:
        self._stats.streams_on_pooled_tunnels += 1
        life.apply(Event.TAKEN)  # before: the tunnel may turn out to be lost while it connects
        return tunnel.connect(headers)

    async def _wait(self, entry: Entry[_Waiting], request: _Waiting) -> _Placed | _Opens | _Fails:
        outcome: asyncio.Future[_Placed | _Opens | _Fails] = asyncio.get_running_loop().create_future()
        request.outcome = outcome
        entry.waiting.append(request)
        begun_ns = monotonic_ns()
        try:
            return await outcome
        except asyncio.CancelledError:
            if outcome.cancelled():
                entry.waiting = [other for other in entry.waiting if other is not request]
            else:
                self._decline(entry, outcome.result())
            self._forget_if_empty(entry)
            raise
        finally:
            self._waited(begun_ns)

    def _decline(self, entry: Entry[_Waiting], outcome: _Placed | _Opens | _Fails) -> None:
        """It was its turn, and it left in the same turn of the loop."""
        match outcome:
            case _Placed(stream):
                stream.reset(ErrorCodes.CANCEL)
            case _Opens(life):
                self._not_opened(entry, life, asyncio.CancelledError())
            case _Fails():
                pass

    def _waited(self, begun_ns: int) -> None:
        self._stats.pool_waits += 1
        self._stats.pool_waits_ns += monotonic_ns() - begun_ns

    def _assign(self, entry: Entry[_Waiting]) -> None:
        """Let go on who need not wait any longer."""
        entry.waiting = [request for request in entry.waiting if not request.outcome.done()]
        while (assignment := entry.next()) is not None:
            request, life = assignment
            if life.tunnel is None:
                request.outcome.set_result(_Opens(life))
            else:
                request.outcome.set_result(_Placed(self._take(life, life.tunnel, request.headers)))

    # Opening.

    async def _open(self, entry: Entry[_Waiting], life: Life, opener: Opener) -> TunnelStream:
        try:
            tunnel, stream = await opener()
        except BaseException as exc:
            self._not_opened(entry, life, exc)
            raise
        life.opened(tunnel, monotonic())
        if self._closed or life.context is not entry.context:
            tunnel.retire()  # before those who wait are told of it
        self._keep(tunnel, life, partial(self._changed, entry, tunnel, life))
        return stream

    def _not_opened(self, entry: Entry[_Waiting], life: Life, error: BaseException) -> None:
        if isinstance(error, TunnelLost):
            why = NotOpened.LOST
        else:
            why = NotOpened.FAILED if isinstance(error, Exception) else NotOpened.GIVEN_UP
        failing = entry.not_opened(life, why)
        if isinstance(error, Exception):
            _fail(failing, error)
        if why is not NotOpened.FAILED:  # else whoever still opens decides for those who wait
            self._assign(entry)
        self._forget_if_empty(entry)

    def _renew(self, entry: Entry[_Waiting], context: ssl.SSLContext) -> None:
        for tunnel in entry.outdated(context):
            tunnel.retire()

    # A tunnel's life.

    def _keep(self, tunnel: PoolTunnel, life: Life, changed: Callable[[], None]) -> None:
        self._lives[tunnel] = life
        self._stats.tunnels_opened += 1
        self._stats.tunnels_outbound += 1
        tunnel.on_change = tunnel.on_closed = changed
        changed()  # it may be ready already, or lost

    def _changed(self, entry: Entry[_Waiting], tunnel: PoolTunnel, life: Life) -> None:
        before = life.state
        failing = entry.changed(life, tunnel, asyncio.get_running_loop().time())
        after = life.state
        if failing:
            _fail(failing, TunnelLost(tunnel.close_reason or "tunnel closed before it was ready"))
        if entry.waiting:
            self._assign(entry)
        if after is before:
            return
        if after is State.IDLE:
            self._sweep_later()
        elif after is State.GONE:
            self._gone(tunnel)
        self._forget_if_empty(entry)

    def _gone(self, tunnel: PoolTunnel) -> None:
        del self._lives[tunnel]
        self._stats.tunnels_closed += 1
        self._stats.tunnels_outbound -= 1
        if tunnel.fault is not None:
            self._stats.faults[tunnel.fault] += 1
        if not self._lives and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _forget_if_empty(self, entry: Entry[_Waiting]) -> None:
        if entry.empty and self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    # Idle tunnels.

    def _sweep_later(self) -> None:
        if self._sweeper is not None or self._closed:
            return
        since = [life.idle_since for life in self._lives.values() if life.idle_since is not None]
        if since:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_at(min(since) + self._idle_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        lives = list(self._lives.items())
        now = asyncio.get_running_loop().time()
        for index in expired([life.idle_since for _, life in lives], now=now, idle_s=self._idle_s):
            lives[index][0].retire()
        self._sweep_later()


CLOSED: Final = "the pod's tunnels are closed"


def _fail(failing: list[_Waiting], error: Exception) -> None:
    for request in failing:
        if not request.outcome.done():
            request.outcome.set_result(_Fails(error))


def _another(error: Exception) -> Exception:
    """An error like this one: one object that several tasks raise would tie their frames together."""
    kind = type(error)
    another = kind.__new__(kind, *error.args)
    another.__dict__.update(error.__dict__)
    another.__cause__ = error.__cause__
    return another
