"""The start that both sides of a tunnel share: TLS, then whom the certificate proves, then ALPN."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from time import monotonic_ns

from proxy.hbone.connection import Side
from proxy.identity.contexts import ALPN
from proxy.identity.spiffe import SpiffeId
from proxy.telemetry import Stats
from proxy.tunnel.channel import Channel
from proxy.tunnel.errors import TlsFailed


async def shake_hands(
    sock: socket.socket,
    context: ssl.SSLContext,
    side: Side,
    *,
    verify: Callable[[bytes], SpiffeId],
    timeout_s: float,
    stats: Stats,
) -> tuple[Channel, SpiffeId]:
    """A channel on a connected socket, and who is at its other end.

    Args:
        verify: Reads the identity from the peer's certificate (DER); raises IdentityMismatch.

    Raises:
        TlsFailed: The handshake failed, or the peer speaks something else. The socket is reset.
        IdentityMismatch: What `verify` raised. Likewise.
    """
    begun_ns = monotonic_ns()
    channel = Channel(asyncio.get_running_loop(), sock, context, server_side=side is Side.SERVER)
    try:
        await channel.handshake(timeout_s)
        if side is Side.CLIENT:
            stats.tls_handshakes_client += 1
            stats.tls_handshakes_client_ns += monotonic_ns() - begun_ns
        else:
            stats.tls_handshakes_server += 1
            stats.tls_handshakes_server_ns += monotonic_ns() - begun_ns
        stats.tls_resumptions += channel.resumed
        peer = verify(channel.peer_certificate)
        if channel.protocol != ALPN:
            raise TlsFailed(f"peer speaks {channel.protocol or 'no ALPN protocol'}, expected {ALPN}")
    except BaseException:
        channel.reset()
        raise
    return channel, peer
