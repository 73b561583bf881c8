"""Two tunnels joined by real TLS over a real socket, and relays on their streams."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from h2.errors import ErrorCodes

from proxy.hbone.events import Header
from proxy.hbone.headers import request_headers
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Limits
from proxy.identity.contexts import client_context, server_context
from proxy.relay.outcome import Outcome
from proxy.relay.stream import StreamRelay
from proxy.telemetry import Stats
from proxy.tests.ca import CLIENT, SERVER, Ca
from proxy.tests.sockets import PATIENCE_S, tcp_pair, until
from proxy.tunnel.client import ClientTunnel
from proxy.tunnel.server import ServerTunnel
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing

HEADERS = request_headers("10.0.0.2:80", source=(IPv4Address("10.0.0.1"), 40000))
CA = Ca()


class Contexts:
    """Made once: keys take time."""

    client: ssl.SSLContext = client_context(CA.certificate(CLIENT))
    server: ssl.SSLContext = server_context(CA.certificate(SERVER))


@dataclass
class TunnelPair:
    """Both ends. Requests pile up in `requests`; the test answers them."""

    client: ClientTunnel
    server: ServerTunnel
    first: TunnelStream
    group: asyncio.TaskGroup
    stats: Stats
    requests: list[TunnelStream] = field(default_factory=list)

    async def request(self, number: int) -> TunnelStream:
        """The server's view of the `number`th request."""
        await until(lambda: len(self.requests) > number)
        return self.requests[number]

    async def fill(self, sock: socket.socket) -> int:
        """Send until nothing moves any more, neither into the socket nor over the tunnel; bytes sent."""
        block, before, still, total = bytes(1 << 16), -1, 0, 0
        while still < 20:
            try:
                total += sock.send(block)
                still = 0
            except BlockingIOError:
                sent = self.client.connection._streams.data_sent + self.server.connection._streams.data_sent
                still = still + 1 if sent == before else 0
                before = sent
            await asyncio.sleep(0)
        return total

    async def relayed(self, stream: TunnelStream | None = None) -> Relayed:
        """An app and a backend joined through a stream, which is accepted."""
        number = len(self.requests) if stream is None else 0
        near_stream = stream or self.client.connect(HEADERS)
        far_stream = await self.request(number)
        far_stream.accept()
        await near_stream.answered()
        app, near = tcp_pair()
        far, backend = tcp_pair()
        loop = asyncio.get_running_loop()
        client = StreamRelay(loop, near, near_stream, reset_code=ErrorCodes.CANCEL, app_waits=True)
        code = ErrorCodes.CONNECT_ERROR
        server = StreamRelay(loop, far, far_stream, reset_code=code, app_waits=False)
        return Relayed(
            app,
            backend,
            client,
            server,
            self.group.create_task(client.run(), name="client relay"),
            self.group.create_task(server.run(), name="server relay"),
        )


@dataclass
class Relayed:
    """App, relay, stream, relay, backend."""

    app: socket.socket
    backend: socket.socket
    client: StreamRelay
    server: StreamRelay
    client_task: asyncio.Task[Outcome]
    server_task: asyncio.Task[Outcome]

    def close(self) -> None:
        self.app.close()
        self.backend.close()


@asynccontextmanager
async def tunnels(
    *,
    client_limits: Limits = CLIENT_LIMITS,
    server_limits: Limits = SERVER_LIMITS,
    timing: Timing | None = None,
    patience_s: float = 3 * PATIENCE_S,
    link: tuple[socket.socket, socket.socket] | None = None,
) -> AsyncIterator[TunnelPair]:
    """Open a tunnel with its first stream; close both ends after the block.

    Args:
        link: Connected sockets of the client's and of the server's side, where loopback will not do.
    """
    timing = timing or Timing()
    stats = Stats()
    near, far = link or tcp_pair()
    async with asyncio.timeout(patience_s), asyncio.TaskGroup() as group:
        accepting = group.create_task(
            ServerTunnel.accept(
                far,
                Contexts.server,
                trust_domains=frozenset({"cluster.local"}),
                limits=server_limits,
                timing=timing,
                stats=stats,
            )
        )
        client, first = await ClientTunnel.open(
            near,
            Contexts.client,
            expected=frozenset({str(SERVER)}),
            headers=HEADERS,
            limits=client_limits,
            timing=timing,
            stats=stats,
        )
        server = await accepting
        pair = TunnelPair(client, server, first, group, stats)

        def requested(stream: TunnelStream, _headers: list[Header]) -> None:
            pair.requests.append(stream)

        server.requested = requested
        server.start()
        yield pair
        client.close()
        await until(lambda: client.over and server.over)
