"""Two proxies and an echo behind the second, on a thread of their own."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, TypeVar

from proxy.identity.spiffe import SpiffeId
from proxy.telemetry import ConnectionRecord, Stats
from proxy.tests.listeners.cluster import ADDRESSES, PORT, Cluster, cluster
from proxy.tests.namespaces import connect_socket
from proxy.tests.sockets import PATIENCE_S

FIREHOSE_PORT = PORT + 1
CLIENT = SpiffeId("cluster.local", "ns", "client")
AUTHORITY = f"{ADDRESSES['server']}:{PORT}"
FIREHOSE = f"{ADDRESSES['server']}:{FIREHOSE_PORT}"
HBONE = (ADDRESSES["server"], 15008)
START_S = 60.0
T = TypeVar("T")


@dataclass
class Running:
    """What the tests' thread may use."""

    cluster: Cluster
    loop: asyncio.AbstractEventLoop
    context: ssl.SSLContext
    """A client's, with the identity of pod `client`."""
    poured: list[int] = field(default_factory=list)
    """Bytes that each connection to the firehose got rid of."""

    @property
    def stats(self) -> Stats:
        """Counters of the proxy under test."""
        return self.cluster.server.stats

    @property
    def completed(self) -> list[ConnectionRecord]:
        """Its access log."""
        return self.cluster.server.telemetry.completed

    def connected(self, *, receive_buffer: int | None = None) -> socket.socket:
        """A blocking socket from pod `client` to pod `server`'s HBONE listener."""
        netns = self.cluster.namespaces["client"]
        sock = self.call(lambda: connect_socket(netns.fd, socket.AF_INET, mark=0x539))
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        sock.connect(HBONE)
        return sock

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the proxy's thread."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE_S)

    async def pour(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """An app that sends for as long as somebody takes it."""
        index = len(self.poured)
        self.poured.append(0)
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                self.poured[index] += 1 << 16
        except ConnectionError:
            writer.close()


@contextmanager
def running(**settings: Any) -> Iterator[Running]:
    """Bring it up; down after the block. What goes wrong on the thread is raised here."""
    ready = threading.Event()
    made: list[Running] = []
    failed: list[BaseException] = []
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(over.set))
        async with cluster(**settings) as c:
            await c.listen("server", _echo)
            context = await c.client.context.identities.client_context(CLIENT)
            made.append(Running(c, loop, context))
            await c.listen("server", made[0].pour, FIREHOSE_PORT)
            ready.set()
            await over.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as exc:  # noqa: BLE001  told to the tests' thread
            failed.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="proxy under test")
    thread.start()
    try:
        assert ready.wait(START_S)
        if failed:
            raise failed[0]
        yield made[0]
    finally:
        for each in stop:
            each()
        thread.join(START_S)
    if failed:
        raise failed[0]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
    except ConnectionResetError:
        pass
    writer.close()


def wait_until(state: Callable[[], object]) -> None:
    """Wait for something on the proxy's thread."""
    give_up = monotonic() + PATIENCE_S
    while not state():
        assert monotonic() < give_up
        sleep(0.01)
