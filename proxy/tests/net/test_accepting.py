"""The one accept loop: order, pauses, rest, and its end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from proxy.config import Loop
from proxy.main import loop_factory
from proxy.net import accepting as module
from proxy.net.accepting import ACCEPTS_PER_TURN, PAUSE_S, Accepting
from proxy.tests.sockets import until

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[Loop.ASYNCIO, Loop.UVLOOP])
def run(request: pytest.FixtureRequest) -> Run:
    """Both event loops."""
    if request.param is Loop.UVLOOP:
        pytest.importorskip("uvloop")
    factory, _ = loop_factory(request.param)

    def run_with(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(story, 20))

    return run_with


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Closes what the test opens."""
    with ExitStack() as stack:
        yield stack


def listener(held: ExitStack) -> socket.socket:
    sock = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
    sock.setblocking(False)
    return sock


async def turns() -> None:
    """Time enough for anything that is due."""
    for _ in range(20):
        await asyncio.sleep(0)


class Taking:
    """Keeps what a listener hands on."""

    def __init__(self, held: ExitStack) -> None:
        self.held = held
        self.listener = listener(held)
        self.peers: list[Any] = []

    def taken(self, sock: socket.socket, peer: Any) -> None:
        assert sock.gettimeout() == 0
        self.held.enter_context(sock)
        self.peers.append(peer)

    def connect(self) -> Any:
        """A client's connection; its address."""
        client = self.held.enter_context(socket.create_connection(self.listener.getsockname()))
        return client.getsockname()


def test_connections_are_handed_on_in_order_and_others_have_their_turn(run: Run, held: ExitStack) -> None:
    async def story() -> None:
        taking = Taking(held)
        clients = [taking.connect() for _ in range(ACCEPTS_PER_TURN + 10)]
        loop, seen = asyncio.get_running_loop(), []
        accepting = Accepting(taking.listener, taking.taken, name="test")

        def look() -> None:
            seen.append(len(taking.peers))
            if len(taking.peers) < len(clients):
                loop.call_soon(look)

        look()
        await until(lambda: len(taking.peers) == len(clients))
        accepting.close()

        assert taking.peers == clients
        assert max(b - a for a, b in pairwise(seen)) <= ACCEPTS_PER_TURN

    run(story())


def test_connections_wait_in_the_backlog_while_it_pauses(run: Run, held: ExitStack) -> None:
    async def story() -> None:
        taking = Taking(held)
        accepting = Accepting(taking.listener, taking.taken, name="test")
        accepting.pause()
        client = taking.connect()
        await turns()
        assert taking.peers == []
        accepting.resume()
        await until(lambda: taking.peers == [client])
        accepting.close()
        accepting.resume()
        taking.connect()
        await turns()
        assert taking.peers == [client]

    run(story())


class Scarce(socket.socket):
    """A listener in a process without descriptors, until somebody closes some."""

    failures = 0
    error = errno.EMFILE
    asked = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


def test_without_descriptors_it_rests_says_so_and_goes_on(
    run: Run, held: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """F14: one line for each rest, and no busy loop."""

    async def story() -> None:
        taking = Taking(held)
        scarce = held.enter_context(Scarce(fileno=taking.listener.detach()))
        scarce.setblocking(False)
        scarce.failures, taking.listener = 2, scarce
        began = asyncio.get_running_loop().time()
        accepting = Accepting(scarce, taking.taken, name="test")
        client = taking.connect()
        await until(lambda: taking.peers == [client])
        assert asyncio.get_running_loop().time() - began >= 1.9 * PAUSE_S
        assert scarce.asked <= 4
        accepting.close()

    with caplog.at_level(logging.WARNING):
        run(story())

    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["accept failed listener=test pause_s=0.1 error=Too many open files"] * 2


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EHOSTUNREACH, errno.EPERM])
def test_a_connection_that_is_lost_before_it_is_taken_costs_the_next_nothing(
    run: Run, held: ExitStack, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    """Whoever can cause that could otherwise make every listener rest, and fill the log."""

    async def story() -> None:
        taking = Taking(held)
        scarce = held.enter_context(Scarce(fileno=taking.listener.detach()))
        scarce.setblocking(False)
        scarce.failures, scarce.error, taking.listener = 5, error, scarce
        client = taking.connect()
        accepting = Accepting(scarce, taking.taken, name="test")
        await until(lambda: taking.peers == [client])
        accepting.close()

    run(story())
    assert caplog.records == []


def test_a_pause_while_it_rests_outlasts_the_rest(
    run: Run, held: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)

    async def story() -> None:
        taking = Taking(held)
        scarce = held.enter_context(Scarce(fileno=taking.listener.detach()))
        scarce.setblocking(False)
        scarce.failures, taking.listener = 1, scarce
        accepting = Accepting(scarce, taking.taken, name="test")
        taking.connect()
        await until(lambda: scarce.asked == 1)
        accepting.pause()
        await turns()
        assert scarce.asked == 1
        accepting.close()

    run(story())
