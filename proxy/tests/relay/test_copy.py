"""Both engines for plaintext over real sockets: ends, resets, back-pressure."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

import pytest

from proxy.config import Relay
from proxy.net.resets import ResetWatch
from proxy.relay.outcome import End, Outcome
from proxy.relay.plain import PlainRelay, plain_relay
from proxy.tests.namespaces import open_descriptors
from proxy.tests.sockets import (
    background,
    receive_all,
    receive_exactly,
    reset,
    run,
    send,
    tcp_pair,
    until,
)

ENGINE = Relay.COPY


@pytest.fixture(autouse=True, params=list(Relay))
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Every test of this file is about both."""
    monkeypatch.setattr(sys.modules[__name__], "ENGINE", request.param)
    chosen: Relay = request.param
    return chosen


@dataclass
class Relayed:
    """A client and a server with a relay between them."""

    client: socket.socket
    server: socket.socket
    relay: PlainRelay
    task: asyncio.Task[Outcome]


@asynccontextmanager
async def relayed() -> AsyncIterator[Relayed]:
    client, near = tcp_pair()
    far, server = tcp_pair()
    relay = plain_relay(ENGINE, near, far)
    with client, server:
        async with background(relay.run()) as task:
            yield Relayed(client, server, relay, task)


def test_bytes_arrive_both_ways_and_both_ends_are_clean() -> None:
    async def test() -> None:
        async with relayed() as r:
            await send(r.client, b"question")
            r.client.shutdown(socket.SHUT_WR)
            assert await receive_all(r.server) == b"question"
            await send(r.server, b"answer")
            r.server.shutdown(socket.SHUT_WR)
            assert await receive_all(r.client) == b"answer"

            assert await r.task == Outcome(End.CLEAN)
            assert (r.relay.sent, r.relay.received) == (8, 6)

    run(test())


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_lets_late_data_through(first: str) -> None:
    """F10: either side may end first; 10 MB still come the other way."""

    async def test() -> None:
        async with relayed() as r:
            early, late = (r.client, r.server) if first == "client" else (r.server, r.client)
            payload = os.urandom(10 * 1024 * 1024)
            early.shutdown(socket.SHUT_WR)
            assert await receive_all(late) == b""
            async with asyncio.TaskGroup() as group:
                group.create_task(send(late, payload))
                received = await receive_exactly(early, len(payload))
            late.shutdown(socket.SHUT_WR)

            assert sha256(received).digest() == sha256(payload).digest()
            assert await receive_all(early) == b""
            assert await r.task == Outcome(End.CLEAN)

    run(test())


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_stays_a_reset(who: str) -> None:
    """F09, I6."""

    async def test() -> None:
        async with relayed() as r:
            await send(r.client, b"x")
            await receive_exactly(r.server, 1)
            victim = r.server if who == "client" else r.client
            reset(r.client if who == "client" else r.server)
            with pytest.raises(ConnectionResetError):
                await receive_all(victim)

            assert (await r.task).end is (End.NEAR_RESET if who == "client" else End.FAR_RESET)

    run(test())


def test_reset_after_an_end_is_still_a_reset() -> None:
    async def test() -> None:
        async with relayed() as r:
            r.client.shutdown(socket.SHUT_WR)
            assert await receive_all(r.server) == b""
            reset(r.server)
            with pytest.raises(ConnectionResetError):
                await receive_all(r.client)

    run(test())


def test_cancelled_relay_resets_both_sides() -> None:
    async def test() -> None:
        async with relayed() as r:
            await send(r.client, b"x")
            await receive_exactly(r.server, 1)
            r.task.cancel()
            await asyncio.wait([r.task])
            for sock in (r.client, r.server):
                with pytest.raises(ConnectionResetError):
                    await receive_all(sock)

    run(test())


def test_cut_relay_resets_both_sides_and_says_why() -> None:
    async def test() -> None:
        async with relayed() as r:
            r.relay.cut("policy")
            for sock in (r.client, r.server):
                with pytest.raises(ConnectionResetError):
                    await receive_all(sock)

            assert await r.task == Outcome(End.CUT, "policy")

    run(test())


@pytest.mark.parametrize("direction", ["up", "down"])
def test_slow_reader_stops_the_sender(direction: str) -> None:
    """Back-pressure: what is under way is bounded by socket buffers and one read; then all arrives."""

    async def test() -> None:
        async with relayed() as r:
            sender, reader = (r.client, r.server) if direction == "up" else (r.server, r.client)
            block = bytes(1 << 20)
            pushed = 0
            while True:
                try:
                    pushed += sender.send(block)
                except BlockingIOError:
                    moved = r.relay.sent + r.relay.received
                    for _ in range(20):
                        await asyncio.sleep(0)
                    if moved == r.relay.sent + r.relay.received and not _writable(sender):
                        break
            queued = r.relay.queued
            assert queued <= 256 * 1024

            sender.shutdown(socket.SHUT_WR)
            assert len(await receive_all(reader)) == pushed

    run(test())


def test_one_byte_writes_arrive() -> None:
    async def test() -> None:
        async with relayed() as r:
            for _ in range(300):
                await send(r.client, b"a")
            r.client.shutdown(socket.SHUT_WR)
            assert await receive_all(r.server) == b"a" * 300

    run(test())


def test_killed_process_resets_both_sides() -> None:
    """F01: without SO_LINGER the kernel would end both sides as if all had been said."""
    client, near = tcp_pair()
    far, server = tcp_pair()
    client.send(b"x")
    child = os.fork()
    if not child:
        client.close()
        server.close()
        _relay_for_ever(near, far)
        os._exit(0)
    near.close()
    far.close()
    with client, server:
        assert select.select([server], [], [], 10)[0]
        assert server.recv(1) == b"x"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for sock in (client, server):
            sock.setblocking(True)
            with pytest.raises(OSError, match="reset") as caught:
                sock.recv(1)
            assert caught.value.errno == errno.ECONNRESET


def _relay_for_ever(near: socket.socket, far: socket.socket) -> None:
    async def relay() -> None:
        await plain_relay(ENGINE, near, far).run()

    asyncio.run(relay())


def _writable(sock: socket.socket) -> bool:
    return bool(select.select([], [sock], [], 0)[1])


def test_no_descriptor_is_left(engine: Relay) -> None:
    async def test() -> None:
        gc.collect()  # what earlier tests have left to the collector
        ResetWatch.of(asyncio.get_running_loop())  # has one of its own
        before = open_descriptors()
        async with relayed() as r:
            pipes = 4 if engine is Relay.SPLICE else 0
            assert open_descriptors() == before + 4 + pipes
            await send(r.client, b"x")
            await receive_exactly(r.server, 1)
            reset(r.client)
            await r.task
        assert open_descriptors() == before

    run(test())


def test_without_descriptors_for_pipes_bytes_are_copied(
    engine: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_flags: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def test() -> None:
        monkeypatch.setattr(os, "pipe2", exhausted)
        async with relayed() as r:
            await send(r.client, b"x")
            assert await receive_exactly(r.server, 1) == b"x"

    if engine is Relay.SPLICE:
        run(test())


def test_first_bytes_are_timed() -> None:
    async def test() -> None:
        async with relayed() as r:
            assert r.relay.first_sent_ns is None
            await send(r.client, b"x")
            await until(lambda: r.relay.first_sent_ns)
            await send(r.server, b"x")
            await until(lambda: r.relay.first_received_ns)

            assert r.relay.first_sent_ns <= r.relay.first_received_ns  # type: ignore[operator]  # until saw both

    run(test())
