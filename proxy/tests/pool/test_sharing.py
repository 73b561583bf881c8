"""Who shares a tunnel, who waits and who opens, under ztunnel's test names where it has them."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address
from time import monotonic
from typing import NoReturn

import pytest

from proxy.config import Reuse
from proxy.listeners.dial import Unreachable
from proxy.pool import Key
from proxy.tests.pool.bench import CONTEXT, HEADERS, Bench, identity, key, together
from proxy.tests.sockets import run, until
from proxy.tunnel.errors import TlsFailed, TunnelLost


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


def test_each_waiter_fails_with_an_error_of_its_own() -> None:
    """P31: one object that several tasks raise ties their frames together until the collector comes."""

    async def test() -> None:
        bench = Bench()
        bench.error = Unreachable("connect to 10.0.1.1:15008: no answer in 10 s", timed_out=True)
        errors = await failures(bench, 5)

        assert len({id(error) for error in errors}) == 5
        assert {(type(e), str(e), vars(e)["timed_out"]) for e in errors} == {
            (Unreachable, str(bench.error), True)
        }

    run(test())


def test_a_herd_that_fails_leaves_no_garbage() -> None:
    """P31."""

    async def herd() -> None:
        bench = Bench()
        gate = asyncio.Event()

        async def opener() -> NoReturn:
            await gate.wait()
            raise TlsFailed("handshake failed")

        async def one() -> None:
            with suppress(TlsFailed):
                await bench.pool.stream(key(), CONTEXT, HEADERS, opener, reuse=Reuse.ON)

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(one())
            await until(lambda: "4 waiting" in repr(bench.pool))
            gate.set()

    async def test() -> None:
        await herd()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await herd()
            assert gc.collect() == 0
        finally:
            gc.enable()

    run(test())


async def failures(bench: Bench, count: int) -> list[Exception]:
    """What connections that come together fail with."""
    failed: list[Exception] = []
    bench.gate.clear()

    async def one() -> None:
        try:
            await bench.stream()
        except Exception as exc:  # noqa: BLE001  whatever it is, it is looked at
            failed.append(exc)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
        await until(lambda: f"{count - 1} waiting" in repr(bench.pool))
        bench.gate.set()
    return failed


def test_waiters_try_once_more_after_a_tunnel_that_never_got_ready() -> None:
    """P11: the peer was replaced, or refuses our certificate, which it says after our handshake (TLS 1.3)."""

    async def test() -> None:
        bench = Bench(ready=False)
        await bench.stream()
        waiting = [asyncio.ensure_future(bench.stream()) for _ in range(3)]
        await until(lambda: "3 waiting" in repr(bench.pool))
        bench.tunnels[0].finish("connection reset by peer")
        await until(lambda: len(bench.tunnels) == 2)
        assert "2 waiting" in repr(bench.pool)  # the third has opened
        bench.tunnels[1].finish("certificate refused")
        await asyncio.wait(waiting)
        opened, *failed = waiting

        assert opened.exception() is None
        assert [(type(task.exception()), str(task.exception())) for task in failed] == [
            (TunnelLost, "certificate refused")
        ] * 2
        assert bench.attempts == 2
        assert repr(bench.pool) == "<pool: 0 tunnels, 0 opening, 0 streams, 0 waiting>"

    run(test())


def test_waiters_try_once_more_after_an_opener_that_lost_its_tunnel() -> None:
    """P11: as above, where the handshake was complete and nothing could be written."""

    async def test() -> None:
        bench = Bench()
        bench.error = TunnelLost("connection reset by peer")
        bench.gate.clear()
        opener, waiter = asyncio.ensure_future(bench.stream()), asyncio.ensure_future(bench.stream())
        await until(lambda: "1 waiting" in repr(bench.pool))
        bench.gate.set()
        with pytest.raises(TunnelLost):
            await opener
        bench.error = None
        await waiter

        assert bench.attempts == 2

    run(test())


@pytest.mark.parametrize(("peer_max", "tunnels", "rounds"), [(1, 40, 3), (5, 8, 2), (100, 1, 1)])
def test_a_peer_that_allows_few_streams_is_not_opened_serially(
    peer_max: int, tunnels: int, rounds: int
) -> None:
    """P23: what the first tunnel's SETTINGS say counts for those who wait, and a bounded number opens."""

    async def test() -> None:
        bench = Bench(peer_max=peer_max)
        bench.gate.clear()
        tasks = [asyncio.ensure_future(bench.stream()) for _ in range(40)]
        waves = 0
        while not all(task.done() for task in tasks):
            waves += 1
            await until(lambda: bench.attempts > len(bench.tunnels))
            opening = bench.attempts - len(bench.tunnels)
            assert opening <= 32
            shut, bench.gate = bench.gate, asyncio.Event()
            shut.set()
            expected = len(bench.tunnels) + opening
            await until(partial(bench.has_tunnels, expected))
            await asyncio.sleep(0)  # those who wait are told
            await asyncio.sleep(0)  # and ask

        assert (len(bench.tunnels), waves) == (tunnels, rounds)
        assert max(tunnel.most for tunnel in bench.tunnels) <= peer_max

    run(test())


def test_a_connection_does_not_wait_behind_slow_readers() -> None:
    """P44: a tunnel whose window is used up is passed over, up to a bound."""

    async def test() -> None:
        bench = Bench()
        await bench.stream()
        for _ in range(12):
            bench.tunnels[-1].stalled = True
            await bench.stream()
        assert [tunnel.live for tunnel in bench.tunnels] == [2] * 5 + [1] * 3
        bench.tunnels[5].stalled = False
        stream, _ = await bench.stream()

        assert len(bench.tunnels) == 8
        assert bench.tunnel_of(stream) is bench.tunnels[5]

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
        assert len(bench.pool._turns) == 0

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
        assert (bench.attempts, len(bench.pool), len(bench.pool._turns)) == (4, 1, 0)

    run(test())


def test_whoever_met_a_stale_tunnel_takes_none_of_its_age() -> None:
    """F05: two tunnels died together; the retry must not meet the second."""

    async def test() -> None:
        bench = Bench(limit=1)
        await together(bench, 2)
        for tunnel in bench.tunnels:
            tunnel.stream_over()
        _, was_there = await bench.stream(opened_since=monotonic())
        assert not was_there
        bench.tunnels[2].stream_over()
        youngest = bench.pool._lives[bench.tunnels[2]]
        _, was_there = await bench.stream(opened_since=youngest.opened_at)

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
