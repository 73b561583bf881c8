"""When a tunnel takes no more streams, and when it closes."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from proxy.tests.pool.bench import Bench, key
from proxy.tests.sockets import run, until
from proxy.tunnel.errors import TunnelLost


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


def test_idle_is_counted_from_the_last_use() -> None:
    """P16: a use takes a tunnel out of those that are idle, and its end starts the clock again."""

    async def test() -> None:
        bench = Bench(idle_s=0.2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await bench.stream()
        (tunnel,) = bench.tunnels
        while loop.time() < began + 0.3:
            tunnel.stream_over()
            await asyncio.sleep(0)
            _, was_there = await bench.stream()
            assert was_there
        ended = loop.time()
        tunnel.stream_over()
        await until(lambda: tunnel.over)

        assert loop.time() >= ended + 0.2

    run(test())


def test_a_tunnel_with_a_live_stream_is_not_idle() -> None:
    """P16: the eviction that was due when the stream was opened passes it by."""

    async def test() -> None:
        bench = Bench(idle_s=0.02)
        await bench.stream(0)
        await bench.stream(1)
        used, unused = bench.tunnels
        for tunnel in bench.tunnels:
            tunnel.stream_over()
        await bench.stream(0)
        await until(lambda: unused.over)

        assert (used.over, used.retired) == (False, False)

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
