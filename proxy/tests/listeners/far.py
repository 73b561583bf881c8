"""A client's proxy that needs no root, and its destination's proxy in the test's hands.

The client asks over SOCKS5, which takes the same outbound path as a captured connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from proxy.explicit.listener import Socks
from proxy.hbone.events import Header
from proxy.hbone.limits import SERVER_LIMITS
from proxy.identity.contexts import server_context
from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.listeners.connection import Pod, served_pod
from proxy.listeners.pod import Serving
from proxy.net import Here, listen
from proxy.routing import HBONE_PORT
from proxy.telemetry import ConnectionRecord, Stats
from proxy.tests.explicit.reach import (
    CLIENT_SETTINGS,
    GREETING,
    CaHere,
    Caller,
    Node,
    document,
    node,
    packed,
    server_address,
)
from proxy.tests.sockets import PATIENCE_S, receive_exactly, send, until
from proxy.tunnel.errors import TunnelError
from proxy.tunnel.server import ServerTunnel
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing

APP_PORT = 8080


@dataclass
class Requested:
    """A CONNECT that came, and on which tunnel, counted from 0."""

    number: int
    tunnel: ServerTunnel
    stream: TunnelStream


def accept(request: Requested) -> None:
    """Answer 200."""
    request.stream.accept()


def ignore(_: Requested) -> None:
    """Leave it without an answer."""


@dataclass(kw_only=True)
class Far(Caller):
    """What the destination's proxy has seen, and what it does with the next."""

    address: str
    client: Node
    pod: Pod
    behave: Callable[[Requested], None] = accept
    greet: Callable[[int], bool] = lambda _: True
    """Whether a tunnel is let live after TLS; reset otherwise, before its SETTINGS."""
    shake_hands: asyncio.Event = field(default_factory=asyncio.Event)
    """TCP connections are taken; TLS begins when it is set."""
    taken: int = 0
    """TCP connections."""
    requests: list[Requested] = field(default_factory=list)

    async def connect(self) -> tuple[socket.socket, bytes]:
        """An app's connection, and the SOCKS reply to it."""
        return await self.ask(packed(self.address), APP_PORT)

    async def app_that_asked(self) -> socket.socket:
        """An app that has no answer yet."""
        sock = await self.dial()
        await send(sock, GREETING)
        assert await receive_exactly(sock, 2) == b"\5\0"
        await send(sock, b"\5\1\0" + packed(self.address) + APP_PORT.to_bytes(2))
        return sock

    def waits(self, count: int) -> bool:
        """Whether a tunnel is being opened and that many connections wait for it."""
        return self.taken > 0 and f"{count} waiting" in repr(self.pod.pool)

    async def records(self, count: int) -> list[ConnectionRecord]:
        """Completed connections, as soon as there are that many."""
        await until(lambda: len(self.client.telemetry.completed) >= count)
        return self.client.telemetry.completed

    async def serve(self, listener: socket.socket, tasks: asyncio.TaskGroup, authority: CaHere) -> None:
        """Take connections until cancelled."""
        context = server_context(authority.ca.certificate(SpiffeId("cluster.local", "ns", "server")))
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            number, self.taken = self.taken, self.taken + 1
            await self.shake_hands.wait()
            tasks.create_task(self._tunnel(sock, number, context), name=f"tunnel {number}")

    async def _tunnel(self, sock: socket.socket, number: int, context: Any) -> None:
        with suppress(TunnelError):
            tunnel = await ServerTunnel.accept(
                sock,
                context,
                trust_domains=frozenset(("cluster.local",)),
                limits=SERVER_LIMITS,
                timing=Timing(),
                stats=Stats(),
            )
            if not self.greet(number):
                tunnel.abort("a test wants it so")
                return

            def requested(stream: TunnelStream, _headers: list[Header]) -> None:
                request = Requested(number, tunnel, stream)
                self.requests.append(request)
                self.behave(request)

            tunnel.requested = requested
            tunnel.start()
            await until(lambda: tunnel.over)


@asynccontextmanager
async def far(**settings: Any) -> AsyncIterator[Far]:
    """Bring both up, and down after the block."""
    address, authority = server_address(), CaHere()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        client = node(tasks, authority, document(address, APP_PORT), **{**CLIENT_SETTINGS, **settings})
        identity = SpiffeId("cluster.local", "ns", "client")
        client.context.identities.enrol(identity)
        info = PodInfo(uid="explicit", name="client", namespace="ns", service_account="client")
        pod = served_pod(client.context, info, Here(), siblings={})
        sock = listen(None, "127.0.0.1", 0, mark=None, transparent=False, reuse_port=False)
        made = Far(socks_port=int(sock.getsockname()[1]), address=address, client=client, pod=pod)
        made.shake_hands.set()
        serving = Serving(pod, [("socks", sock, Socks(pod).serve)])
        listener = listen(None, address, HBONE_PORT, mark=None, transparent=False)
        taking = tasks.create_task(made.serve(listener, tasks, authority), name="far")
        try:
            yield made
        finally:
            made.shake_hands.set()
            taking.cancel()
            listener.close()
            await serving.close()
            client.context.identities.withdraw(identity)
