"""The side that opens a tunnel."""

from __future__ import annotations

import asyncio
import socket
import ssl
from time import monotonic_ns
from typing import Self

from proxy.hbone.connection import Side
from proxy.hbone.events import Header
from proxy.hbone.limits import Limits
from proxy.identity.peer import verify_server
from proxy.telemetry import Stats
from proxy.tunnel.errors import TunnelLost
from proxy.tunnel.handshake import shake_hands
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing, Tunnel


class ClientTunnel(Tunnel):
    """A tunnel that we opened: streams are ours to open."""

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        expected: frozenset[str],
        headers: list[Header],
        limits: Limits,
        timing: Timing,
        stats: Stats,
    ) -> tuple[Self, TunnelStream]:
        """Shake hands on a connected socket, check whom we reached, and ask for the first stream.

        The request leaves with our Finished, before the peer's SETTINGS: a round trip less. It tells
        the peer no more than its own address; no byte of the app follows before the answer.

        Raises:
            TlsFailed: The handshake failed. The socket is closed.
            IdentityMismatch: Another identity than `expected`. Likewise, and nothing was sent.
            TunnelLost: The peer ended the connection right after the handshake; nothing was served.
        """
        channel, peer = await shake_hands(
            sock,
            context,
            Side.CLIENT,
            verify=lambda leaf: verify_server(leaf, expected),
            timeout_s=timing.handshake_s,
            stats=stats,
        )
        loop = asyncio.get_running_loop()
        tunnel = cls(loop, channel, side=Side.CLIENT, limits=limits, timing=timing, peer=peer)
        tunnel.connection.start()
        stream = tunnel.add(tunnel.connection.connect(headers))
        tunnel.start()
        if tunnel.over:
            raise TunnelLost(tunnel.close_reason or "closed by the peer")
        return tunnel, stream

    def connect(self, headers: list[Header]) -> TunnelStream:
        """Ask for a further stream; `TunnelStream.answered` waits for the answer."""
        taken_ns = monotonic_ns()
        stream = self.add(self.connection.connect(headers))
        stream.taken_ns = taken_ns
        self._write_head()
        return stream
