"""A transparent proxy just large enough to prove the rules: it accepts, notes whom for, and relays.

Its sockets are those that the real proxies open: all marked 0x539, listeners transparent, the leg to
the app under the client's address. Between mesh pods it speaks a stand-in for HBONE: the app's port in
two bytes, then the bytes themselves, to the peer's port 15008.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from harness.agent import netns
from harness.agent.rules.marks import HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT, PROXY

SO_MARK = 36  # asm-generic/socket.h
IP_TRANSPARENT = 19  # linux/in.h
IP_FREEBIND = 15
SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h

Address = tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Seen:
    """One accepted connection: which listener, from whom, and where it was going."""

    port: int
    source: str
    destination: Address


@dataclass(slots=True)
class Loop:
    """An asyncio loop on a thread, for proxies and apps of one test module."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    servers: list[asyncio.Server] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.loop.run_forever, name="transparent")
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _close(self) -> None:
        for server in self.servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks) if tasks else None

    def serve(self, listener: socket.socket, handler: Callable[[Streams], Awaitable[None]]) -> None:
        """Hand every connection of a listening socket to `handler`."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler((reader, writer))
            except OSError:
                writer.transport.abort()
            finally:
                writer.close()

        async def start() -> None:
            self.servers.append(await asyncio.start_server(accept, sock=listener))

        asyncio.run_coroutine_threadsafe(start(), self.loop).result(10)


def listening(path: str, port: int, *, marked: bool) -> socket.socket:
    """A listening socket inside a namespace; `marked` makes it a proxy's."""
    listener = netns.inside(path, socket.socket)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if marked:
        listener.setsockopt(socket.SOL_SOCKET, SO_MARK, PROXY)
        listener.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(128)
    return listener


class Proxy:
    """Serves one pod, as a node's proxy does for each of its pods."""

    def __init__(self, loop: Loop, path: str, address: str, mesh: frozenset[str]) -> None:
        self._path = path
        self._address = address
        self._mesh = mesh
        self.seen: list[Seen] = []
        for port, handler in (
            (OUTBOUND_PORT, self._outbound),
            (INBOUND_PORT, self._plaintext),
            (HBONE_PORT, self._tunnel),
        ):
            loop.serve(listening(path, port, marked=True), handler)

    async def _outbound(self, app: Streams) -> None:
        destination = self._note(OUTBOUND_PORT, app)
        in_mesh = destination[0] in self._mesh
        peer = await self._dial((destination[0], HBONE_PORT) if in_mesh else destination)
        if in_mesh:
            peer[1].write(struct.pack("!H", destination[1]))
        await _relay(app, peer)

    async def _plaintext(self, client: Streams) -> None:
        destination = self._note(INBOUND_PORT, client)
        await _relay(client, await self._dial(destination, source=_peer(client)))

    async def _tunnel(self, client: Streams) -> None:
        self._note(HBONE_PORT, client)
        (port,) = struct.unpack("!H", await client[0].readexactly(2))
        await _relay(client, await self._dial((self._address, port), source=_peer(client)))

    def _note(self, port: int, streams: Streams) -> Address:
        accepted: socket.socket = streams[1].get_extra_info("socket")
        local: Address = accepted.getsockname()
        if local[1] == port and port != HBONE_PORT:
            data = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            local = (socket.inet_ntoa(data[4:8]), struct.unpack("!H", data[2:4])[0])
        self.seen.append(Seen(port, _peer(streams), local))
        return local

    async def _dial(self, destination: Address, source: str = "") -> Streams:
        leg = netns.inside(self._path, socket.socket)
        leg.setblocking(False)
        leg.setsockopt(socket.SOL_SOCKET, SO_MARK, PROXY)
        if source:
            leg.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
            leg.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            leg.bind((source, 0))
        try:
            await asyncio.get_running_loop().sock_connect(leg, destination)
        except OSError:
            leg.close()
            raise
        return await asyncio.open_connection(sock=leg)


def serve_app(loop: Loop, path: str, port: int) -> None:
    """An app that answers each line with the address that it sees at the other end."""

    async def answer(streams: Streams) -> None:
        reader, writer = streams
        while await reader.readline():
            writer.write(f"{_peer(streams)}\n".encode())

    loop.serve(listening(path, port, marked=False), answer)


def _peer(streams: Streams) -> str:
    name: str = streams[1].get_extra_info("peername")[0]
    return name


async def _relay(left: Streams, right: Streams) -> None:
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(left[0], right[1]), name="there")
            both.create_task(_pump(right[0], left[1]), name="back")
    finally:
        right[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
