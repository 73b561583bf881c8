"""Accepting: a bug in one connection, and what happens when there are no descriptors left."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct

import pytest

from proxy.admission import Admission
from proxy.config import Settings
from proxy.listeners.acceptor import Acceptor
from proxy.state.model import SocketAddress
from proxy.tasks import Tasks
from proxy.tests.sockets import receive_all, run, send, until


class Scarce:
    """A listener that runs out of descriptors now and then."""

    def __init__(self, sock: socket.socket, *, failures: int) -> None:
        self._sock = sock
        self.failures = failures

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._sock.accept()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setsockopt(self, *option: int) -> None:
        self._sock.setsockopt(*option)

    def close(self) -> None:
        self._sock.close()


def listener() -> socket.socket:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


async def answer(sock: socket.socket, _peer: SocketAddress) -> None:
    await send(sock, b"hello")


async def fail(_sock: socket.socket, _peer: SocketAddress) -> None:
    raise ZeroDivisionError


def test_peer_is_told_and_the_socket_is_closed() -> None:
    async def test() -> None:
        peers = []

        async def handle(sock: socket.socket, peer: SocketAddress) -> None:
            peers.append(peer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
            await answer(sock, peer)

        async with asyncio.TaskGroup() as group:
            listening = listener()
            acceptor = Acceptor(
                listening, handle, Tasks(group), Settings(), name="test", admission=Admission()
            )
            with socket.create_connection(listening.getsockname()) as client:
                client.setblocking(False)
                assert await receive_all(client) == b"hello"
                assert [(str(host), port) for host, port in peers] == [client.getsockname()]
            acceptor.close()

    run(test())


def test_an_accepted_socket_has_the_connections_options() -> None:
    """Inherited or set, it resets when closed, sends at once, and notices a peer that vanished (F01)."""

    async def test() -> None:
        found = asyncio.get_running_loop().create_future()

        async def handle(sock: socket.socket, _peer: SocketAddress) -> None:
            linger = struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
            tcp = (socket.TCP_NODELAY, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            keeps = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            got = (sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp)
            found.set_result((*linger, keeps, *got))

        async with asyncio.TaskGroup() as group:
            listening = listener()
            settings = Settings(keepalive_idle_s=70, keepalive_interval_s=7, keepalive_probes=5)
            acceptor = Acceptor(listening, handle, Tasks(group), settings, name="test", admission=Admission())
            with socket.create_connection(listening.getsockname()):
                assert await found == (1, 0, 1, 1, 70, 7, 5)
            acceptor.close()

    run(test())


def test_bug_in_one_connection_resets_it_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            listening = listener()
            tasks = Tasks(group)
            acceptor = Acceptor(listening, fail, tasks, Settings(), name="test", admission=Admission())
            for _ in range(2):
                with socket.create_connection(listening.getsockname()) as client:
                    client.setblocking(False)
                    with pytest.raises(ConnectionResetError):
                        await receive_all(client)
            await until(lambda: len(tasks) == 0)
            acceptor.close()

    run(test())

    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2


def test_accept_rests_without_descriptors_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """F14: one line, no busy loop, and the connection that waited is served."""

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            listening = Scarce(listener(), failures=2)
            acceptor = Acceptor(
                listening,  # type: ignore[arg-type]
                answer,
                Tasks(group),
                Settings(),
                name="test",
                admission=Admission(),
            )
            with socket.create_connection(listening._sock.getsockname()) as client:
                client.setblocking(False)
                assert await asyncio.get_running_loop().sock_recv(client, 5) == b"hello"
            assert listening.failures == 0
            acceptor.close()

    with caplog.at_level(logging.WARNING):
        run(test())

    assert len([record for record in caplog.records if "accept failed" in record.message]) == 2


def test_hoard_is_turned_away_and_its_place_is_free_again(caplog: pytest.LogCaptureFixture) -> None:
    """T16: over the limit of its source a connection is reset at once; where one has ended, one is taken."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        release = asyncio.Event()

        async def hold(sock: socket.socket, _peer: SocketAddress) -> None:
            await send(sock, b"in")
            await release.wait()

        async with asyncio.TaskGroup() as group:
            listening, tasks = listener(), Tasks(group)
            admission = Admission(per_source=2)
            acceptor = Acceptor(listening, hold, tasks, Settings(), name="test", admission=admission)
            clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
            for client in clients:
                client.setblocking(False)
            assert [await loop.sock_recv(client, 2) for client in clients[:2]] == [b"in", b"in"]
            with pytest.raises(ConnectionResetError):
                await receive_all(clients[2])
            assert (admission.live, admission.refused) == (2, 1)
            release.set()
            await until(lambda: not tasks)
            assert (admission.live, len(admission.sources)) == (0, 0)
            with socket.create_connection(listening.getsockname()) as late:
                late.setblocking(False)
                assert await loop.sock_recv(late, 2) == b"in"
                await until(lambda: any("refused" in record.message for record in caplog.records))
            acceptor.close()
            for client in clients:
                client.close()

    with caplog.at_level(logging.WARNING):
        run(test())
