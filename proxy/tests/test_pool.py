"""The pool: its decision as a table, and its invariants (ztunnel's test names) with fake tunnels."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import cast

import pytest

from proxy.config import Reuse
from proxy.hbone.events import Header
from proxy.identity.spiffe import SpiffeId
from proxy.pool import Key, Open, Pool, Use, View, Wait, decide, expired
from proxy.telemetry import Stats
from proxy.tests.sockets import run, until
from proxy.tunnel.errors import TunnelLost
from proxy.tunnel.stream import TunnelStream

HEADERS: list[Header] = []
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def identity(service_account: str) -> SpiffeId:
    return SpiffeId("cluster.local", "bench", service_account)


def key(number: int = 0) -> Key:
    return Key(
        identity(f"client{number}"),
        frozenset({str(identity("server"))}),
        IPv4Address("10.0.0.1"),
        (IPv4Address("10.0.1.1"), 15008),
    )


@pytest.mark.parametrize(
    ("views", "opening", "waiting", "expected"),
    [
        ([], 0, 0, Open()),
        ([View(1, 99)], 0, 0, Use(0)),
        ([View(1, 99), View(7, 93)], 0, 0, Use(1)),
        ([View(0, 100), View(0, 100)], 0, 0, Use(0)),
        ([View(100, 0)], 0, 0, Open()),
        ([View(100, 0), View(3, 97)], 0, 0, Use(1)),
        ([View(1, 0)], 1, 0, Wait()),
        ([], 1, 0, Wait()),
        ([], 1, 98, Wait()),
        ([], 1, 99, Open()),
        ([], 2, 99, Wait()),
        ([], 2, 198, Open()),
        ([View(5, 1)], 1, 50, Use(0)),
    ],
)
def test_decision(views: list[View], opening: int, waiting: int, expected: object) -> None:
    assert decide(views, opening=opening, waiting=waiting, per_tunnel=100) == expected


def test_one_stream_per_tunnel_never_waits_for_another_opener() -> None:
    assert decide([], opening=3, waiting=0, per_tunnel=1) == Open()


@pytest.mark.parametrize(
    ("since", "expected"),
    [([], []), ([None], []), ([0.0], [0]), ([0.1], []), ([None, -5.0, 3.0, 0.0], [1, 3])],
)
def test_expiry(since: list[float | None], expected: list[int]) -> None:
    assert expired(since, now=300.0, idle_s=300.0) == expected


@dataclass
class FakeStream:
    """All that the pool and these tests need of a stream."""

    tunnel: FakeTunnel


class FakeTunnel:
    """A tunnel without a network."""

    def __init__(self, *, ready: bool = True, peer_max: int = 1000) -> None:
        self.ready = ready
        self.peer_max = peer_max
        self.live = 1
        self.most = 1
        self.over = False
        self.draining = False
        self.retired = False
        self.close_reason: str | None = None
        self.fault: str | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_closed: Callable[[], None] = lambda: None

    @property
    def usable(self) -> bool:
        return not (self.over or self.draining or self.retired)

    @property
    def capacity(self) -> int:
        return max(0, self.peer_max - self.live) if self.usable else 0

    def connect(self, _headers: list[Header]) -> TunnelStream:
        assert self.ready
        assert self.capacity
        self.live += 1
        self.most = max(self.most, self.live)
        return self._stream()

    def first(self) -> TunnelStream:
        return self._stream()

    def _stream(self) -> TunnelStream:
        return cast(TunnelStream, FakeStream(self))

    def stream_over(self) -> None:
        self.live -= 1
        self.on_change()
        if self.retired and not self.live:
            self.finish(None)

    def become_ready(self) -> None:
        self.ready = True
        self.on_change()

    def goaway(self) -> None:
        self.draining = True
        self.on_change()

    def retire(self) -> None:
        self.retired = True
        self.on_change()
        if not self.live:
            self.finish(None)

    def abort(self, reason: str) -> None:
        self.finish(reason)

    def finish(self, reason: str | None) -> None:
        self.over = True
        self.close_reason = reason
        self.on_closed()
        self.on_change()


@dataclass
class Bench:
    """A pool, and an opener whose tunnels the test lets through, or fails."""

    limit: int = 100
    ready: bool = True
    peer_max: int = 1000
    idle_s: float = 300.0
    pool: Pool = field(init=False)
    stats: Stats = field(default_factory=Stats)
    tunnels: list[FakeTunnel] = field(default_factory=list)
    attempts: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.pool = Pool(max_streams=self.limit, idle_s=self.idle_s, stats=self.stats)
        self.gate.set()

    async def open(self) -> tuple[FakeTunnel, TunnelStream]:
        self.attempts += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        tunnel = FakeTunnel(ready=self.ready, peer_max=self.peer_max)
        self.tunnels.append(tunnel)
        return tunnel, tunnel.first()

    async def stream(
        self,
        number: int = 0,
        *,
        reuse: Reuse = Reuse.ON,
        context: ssl.SSLContext = CONTEXT,
        opened_since: float = -math.inf,
        per_tunnel: int | None = None,
    ) -> tuple[TunnelStream, bool]:
        return await self.pool.stream(
            key(number),
            context,
            HEADERS,
            self.open,
            reuse=reuse,
            opened_since=opened_since,
            per_tunnel=per_tunnel,
        )

    def tunnel_of(self, stream: TunnelStream) -> FakeTunnel:
        return cast(FakeTunnel, stream.tunnel)


async def together(bench: Bench, count: int, *, keys: int = 1) -> list[tuple[TunnelStream, bool]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.stream(number % keys)) for number in range(count)]
    return [task.result() for task in tasks]


def test_connections_reused() -> None:
    async def test() -> None:
        bench = Bench()
        first, was_there = await bench.stream()
        second, was_there_again = await bench.stream()

        assert (was_there, was_there_again) == (False, True)
        assert first.tunnel is second.tunnel
        assert bench.attempts == 1

    run(test())


@pytest.mark.parametrize(("per_tunnel", "tunnels"), [(1, 7), (3, 3), (None, 1)])
def test_a_caller_s_limit_of_streams_binds_while_it_asks_for_it(per_tunnel: int | None, tunnels: int) -> None:
    async def test() -> None:
        bench = Bench()
        for _ in range(7):
            await bench.stream(per_tunnel=per_tunnel)

        assert len(bench.tunnels) == tunnels

    run(test())


def test_unique_keys_have_unique_connections() -> None:
    async def test() -> None:
        bench = Bench()
        streams = [await bench.stream(number) for number in range(3)]

        assert len({id(stream.tunnel) for stream, _ in streams}) == 3

    run(test())


@pytest.mark.parametrize(
    "other",
    [
        key()._replace(source=identity("other")),
        key()._replace(expected=frozenset({str(identity("other"))})),
        key()._replace(source_ip=IPv4Address("10.0.0.9")),
        key()._replace(destination=(IPv4Address("10.0.1.2"), 15008)),
    ],
    ids=Key._fields,
)
def test_every_field_of_the_key_separates(other: Key) -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream()
        _, was_there = await bench.pool.stream(other, CONTEXT, HEADERS, bench.open, reuse=Reuse.ON)

        assert not was_there

    run(test())


def test_connection_limits() -> None:
    """Two streams a tunnel, five connections: three tunnels, and room that comes back is used."""

    async def test() -> None:
        bench = Bench(limit=2)
        streams = await together(bench, 5)
        assert sorted((t.most for t in bench.tunnels), reverse=True) == [2, 2, 1]
        full = bench.tunnel_of(streams[0][0])
        full.stream_over()
        await bench.stream()
        await bench.stream()

        assert len(bench.tunnels) == 3
        assert max(tunnel.most for tunnel in bench.tunnels) == 2

    run(test())


def test_peer_limit_binds_below_ours() -> None:
    async def test() -> None:
        bench = Bench(peer_max=3)
        for _ in range(7):
            await bench.stream()

        assert [tunnel.live for tunnel in bench.tunnels] == [3, 3, 1]

    run(test())


def test_server_goaway() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream()
        bench.tunnels[0].goaway()
        _, was_there = await bench.stream()

        assert not was_there
        assert len(bench.tunnels) == 2
        assert len(bench.pool) == 2  # the first one still carries its stream

    run(test())


def test_stress_test_single_source() -> None:
    async def test() -> None:
        bench = Bench()
        await together(bench, 100)

        assert bench.attempts == 1
        assert bench.tunnels[0].live == 100

    run(test())


def test_stress_test_multiple_source() -> None:
    async def test() -> None:
        bench = Bench()
        await together(bench, 100, keys=100)

        assert bench.attempts == 100

    run(test())


def test_stress_test_many_clients_many_sources() -> None:
    async def test() -> None:
        bench = Bench()
        await together(bench, 300, keys=3)

        assert bench.attempts == 3
        assert [tunnel.live for tunnel in bench.tunnels] == [100, 100, 100]

    run(test())


def test_others_wait_for_settings() -> None:
    """Only the opener's stream travels before the peer's SETTINGS."""

    async def test() -> None:
        bench = Bench(ready=False)
        await bench.stream()
        waiting = asyncio.ensure_future(together(bench, 20))
        await until(lambda: "20 waiting" in repr(bench.pool))
        bench.tunnels[0].become_ready()
        await waiting

        assert bench.attempts == 1
        assert bench.tunnels[0].live == 21

    run(test())


def test_waiters_fail_with_their_opener() -> None:
    """100 concurrent first requests to a dead peer: one attempt, all fail at once."""

    async def test() -> None:
        bench = Bench()
        bench.error = ConnectionRefusedError(111, "refused")
        bench.gate.clear()
        tasks = [asyncio.ensure_future(bench.stream()) for _ in range(100)]
        await until(lambda: "99 waiting" in repr(bench.pool))
        bench.gate.set()
        results = [type((await asyncio.wait([task]))[0].pop().exception()) for task in tasks]

        assert results == [ConnectionRefusedError] * 100
        assert bench.attempts == 1
        assert repr(bench.pool) == "<pool: 0 tunnels, 0 opening, 0 streams, 0 waiting>"

    run(test())


def test_waiters_fail_with_a_tunnel_that_never_got_ready() -> None:
    """A server that refuses our certificate does so after our handshake is complete (TLS 1.3)."""

    async def test() -> None:
        bench = Bench(ready=False)
        await bench.stream()
        waiting = asyncio.ensure_future(bench.stream())
        await until(lambda: "1 waiting" in repr(bench.pool))
        bench.tunnels[0].finish("certificate refused")
        with pytest.raises(TunnelLost, match="certificate refused"):
            await waiting

        assert bench.attempts == 1

    run(test())


def test_cancelled_opener_hands_over_to_a_waiter() -> None:
    async def test() -> None:
        bench = Bench()
        bench.gate.clear()
        opener, waiter = asyncio.ensure_future(bench.stream()), asyncio.ensure_future(bench.stream())
        await until(lambda: "1 waiting" in repr(bench.pool))
        opener.cancel()
        await until(lambda: bench.attempts == 2)
        bench.gate.set()
        _, was_there = await waiter

        assert not was_there

    run(test())


def test_cancelled_waiter_leaves_nothing_behind() -> None:
    async def test() -> None:
        bench = Bench()
        bench.gate.clear()
        opener, waiter = asyncio.ensure_future(bench.stream()), asyncio.ensure_future(bench.stream())
        await until(lambda: "1 waiting" in repr(bench.pool))
        waiter.cancel()
        await asyncio.wait([waiter])
        bench.gate.set()
        await opener

        assert repr(bench.pool) == "<pool: 1 tunnels, 0 opening, 1 streams, 0 waiting>"

    run(test())


def test_without_reuse_every_connection_has_a_tunnel_of_its_own() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream()
        streams = [await bench.stream(reuse=Reuse.OFF) for _ in range(3)]

        assert bench.attempts == 4
        assert not any(was_there for _, was_there in streams)
        for stream, _ in streams:
            bench.tunnel_of(stream).stream_over()
        assert len(bench.pool) == 1
        assert (bench.stats.tunnels_opened, bench.stats.tunnels_closed, bench.stats.tunnels_outbound) == (
            4,
            3,
            1,
        )

    run(test())


def test_without_reuse_nobody_waits_for_anybody() -> None:
    async def test() -> None:
        bench = Bench()
        bench.gate.clear()
        tasks = [asyncio.ensure_future(bench.stream(reuse=Reuse.OFF)) for _ in range(10)]
        await until(lambda: bench.attempts == 10)
        bench.gate.set()
        await asyncio.wait(tasks)

        assert len(bench.tunnels) == 10

    run(test())


def test_serialised_tunnels_of_one_key_are_opened_one_after_another() -> None:
    """`off-serialised`, as ztunnel with one stream per tunnel; other keys do not wait."""

    async def test() -> None:
        bench = Bench()
        bench.gate.clear()
        tasks = [
            asyncio.ensure_future(bench.stream(number, reuse=Reuse.OFF_SERIALISED))
            for number in (0, 0, 0, 0, 1)
        ]
        await until(lambda: bench.attempts == 2)
        for _ in range(10):
            await asyncio.sleep(0)
        assert bench.attempts == 2
        bench.gate.set()
        await asyncio.wait(tasks)

        assert len({id(task.result()[0].tunnel) for task in tasks}) == 5
        assert (bench.stats.pool_waits, bench.stats.streams_on_pooled_tunnels) == (3, 0)
        assert bench.pool._entries == {}

    run(test())


def test_serialised_openers_are_not_held_up_by_one_that_failed_or_left() -> None:
    async def test() -> None:
        bench = Bench()
        bench.gate.clear()
        leaves, *fail = (asyncio.ensure_future(bench.stream(reuse=Reuse.OFF_SERIALISED)) for _ in range(3))
        await until(lambda: bench.attempts == 1)
        leaves.cancel()
        await until(lambda: bench.attempts == 2)
        bench.error = ConnectionRefusedError(111, "refused")
        bench.gate.set()
        await asyncio.wait(fail)
        bench.error = None
        await bench.stream(reuse=Reuse.OFF_SERIALISED)

        assert [type(task.exception()) for task in fail] == [ConnectionRefusedError] * 2
        assert (bench.attempts, len(bench.pool)) == (4, 1)
        assert bench.pool._entries == {}

    run(test())


def test_whoever_met_a_stale_tunnel_takes_none_of_its_age() -> None:
    """F05: two tunnels died together; the retry must not meet the second."""

    async def test() -> None:
        bench = Bench(limit=1)
        await together(bench, 2)
        for tunnel in bench.tunnels:
            tunnel.stream_over()
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1e-6)
        _, was_there = await bench.stream(opened_since=loop.time())
        assert not was_there
        bench.tunnels[2].stream_over()
        _, was_there = await bench.stream(opened_since=bench.pool._pooled()[2].opened_at)

        assert was_there
        assert bench.tunnels[2].live == 1

    run(test())


def test_what_is_counted_of_reuse_and_of_waiting() -> None:
    async def test() -> None:
        bench = Bench()
        bench.gate.clear()
        tasks = [asyncio.ensure_future(bench.stream()) for _ in range(5)]
        await until(lambda: "4 waiting" in repr(bench.pool))
        bench.gate.set()
        await asyncio.wait(tasks)
        stats = bench.stats

        assert (stats.streams_asked, stats.streams_on_pooled_tunnels, stats.pool_waits) == (5, 4, 4)
        assert stats.pool_waits_ns > 0
        assert bench.pool.live == 5

    run(test())


def test_idle_eviction() -> None:
    async def test() -> None:
        bench = Bench(idle_s=0.02)
        await bench.stream()
        bench.tunnels[0].stream_over()
        await until(lambda: not len(bench.pool))

        assert bench.tunnels[0].over

    run(test())


def test_idle_eviction_with_persistent() -> None:
    """A tunnel in use outlives its idle neighbour, and is evicted in its turn."""

    async def test() -> None:
        bench = Bench(idle_s=0.02)
        await bench.stream(0)
        await bench.stream(1)
        persistent, idle = bench.tunnels
        idle.stream_over()
        await until(lambda: idle.over)
        assert not persistent.over
        persistent.stream_over()
        await until(lambda: persistent.over)

    run(test())


def test_drop_closes_idle_tunnels_now_and_others_with_their_last_stream() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream(0)
        await bench.stream(1)
        idle, busy = bench.tunnels
        idle.stream_over()
        bench.pool.drop_tunnels()

        assert (idle.over, busy.over) == (True, False)
        busy.stream_over()
        assert busy.over
        assert repr(bench.pool) == "<pool: 0 tunnels, 0 opening, 0 streams, 0 waiting>"

    run(test())


def test_renewed_certificate_retires_older_tunnels() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream()
        await bench.stream(context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

        assert bench.attempts == 2
        assert bench.tunnels[0].retired

    run(test())


def test_renewal_retires_the_tunnels_of_its_source_alone() -> None:
    """T39."""

    async def test() -> None:
        bench = Bench()
        older, other = [bench.tunnel_of((await bench.stream(number))[0]) for number in range(2)]
        renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bench.pool.retire_outdated(key(0).source, renewed)
        younger = bench.tunnel_of((await bench.stream(0, context=renewed))[0])
        bench.pool.retire_outdated(key(0).source, renewed)

        assert [tunnel.usable for tunnel in (older, other, younger)] == [False, True, True]

    run(test())


def test_what_replaces_an_idle_tunnel_of_an_older_certificate_is_pooled() -> None:
    """T39: the last tunnel of the key goes at once, and the key's entry with it."""

    async def test() -> None:
        bench = Bench(idle_s=0.02)
        renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        await bench.stream()
        bench.tunnels[0].stream_over()
        await bench.stream(context=renewed)
        _, was_there = await bench.stream(context=renewed)

        assert (was_there, bench.attempts) == (True, 2)
        for _ in range(2):
            bench.tunnels[1].stream_over()
        await until(lambda: not len(bench.pool))

    run(test())


def test_close_resets_what_lives_at_the_deadline() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream()
        await bench.pool.close(0.01)
        with pytest.raises(TunnelLost):
            await bench.stream(1)

        assert bench.tunnels[0].close_reason == "proxy is shutting down"
        assert len(bench.pool) == 0

    run(test())


def test_close_returns_when_the_last_stream_is_over() -> None:
    async def test() -> None:
        bench = Bench()
        await bench.stream()
        closing = asyncio.ensure_future(bench.pool.close(20))
        await until(lambda: bench.tunnels[0].retired)
        bench.tunnels[0].stream_over()
        await closing

        assert bench.tunnels[0].close_reason is None

    run(test())
