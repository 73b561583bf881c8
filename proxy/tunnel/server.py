"""The side that accepts a tunnel."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Self

from proxy.hbone.connection import Side
from proxy.hbone.events import Header
from proxy.hbone.limits import Limits
from proxy.identity.peer import verify_client
from proxy.telemetry import Stats
from proxy.tunnel.handshake import shake_hands
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing, Tunnel


class ServerTunnel(Tunnel):
    """A tunnel that a peer opened: its requests go to `requested`."""

    requested: Callable[[TunnelStream, list[Header]], None]

    @classmethod
    async def accept(
        cls,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        trust_domains: frozenset[str],
        limits: Limits,
        timing: Timing,
        stats: Stats,
    ) -> Self:
        """Shake hands on an accepted socket and check who is there. Set `requested`, then `start`.

        Raises:
            TlsFailed: The handshake failed. The socket is closed.
            IdentityMismatch: No identity, or one of another trust domain. Likewise.
        """
        channel, peer = await shake_hands(
            sock,
            context,
            Side.SERVER,
            verify=lambda leaf: verify_client(leaf, trust_domains),
            timeout_s=timing.handshake_s,
            stats=stats,
        )
        loop = asyncio.get_running_loop()
        tunnel = cls(loop, channel, side=Side.SERVER, limits=limits, timing=timing, peer=peer)
        tunnel.connection.start()
        return tunnel

    def on_requested(self, stream: TunnelStream, headers: list[Header]) -> None:
        """Hand a CONNECT on."""
        self.requested(stream, headers)
