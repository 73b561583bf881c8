"""What apps between two proxies do to each other with blocking sockets, and the frame of such a story."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from proxy.net.namespace import Netns
from proxy.net.sockets import listen, socket_in
from proxy.tests.bed import SERVER, Bed, Node, bed_in, call, echo

PATIENCE_S = 60
SOON = {
    "PYZTUNNEL_PING_INTERVAL": "200ms",
    "PYZTUNNEL_PING_TIMEOUT": "1s",
    "PYZTUNNEL_CONNECT_TIMEOUT": "1s",
}
"""Settings with which a peer that cannot be reached is noticed soon."""


def connect(netns: Netns, address: str, port: int = 8080, *, source_port: int | None = None) -> socket.socket:
    """An app's connection."""
    sock = socket_in(netns.fd, socket.AF_INET)
    sock.settimeout(PATIENCE_S)
    try:
        if source_port is not None:
            sock.bind(("", source_port))
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def round_trip(sock: socket.socket, text: bytes = b"x") -> bytes:
    """One echo on a connection that stays open."""
    sock.sendall(text)
    received = b""
    while len(received) < len(text) and (part := sock.recv(65536)):
        received += part
    return received


@contextmanager
def established(bed: Bed) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A caller and the app's socket, through both proxies."""
    with ExitStack() as stack:
        listener = stack.enter_context(listen(bed.server.fd, "0.0.0.0", 8081, mark=None, transparent=False))
        listener.setblocking(True)
        listener.settimeout(PATIENCE_S)
        caller = stack.enter_context(connect(bed.client, SERVER, 8081))
        app = stack.enter_context(listener.accept()[0])
        app.settimeout(PATIENCE_S)
        caller.sendall(b"hello")
        assert app.recv(100) == b"hello"
        yield caller, app


def story(folder: Path, tell: Callable[[Bed], Awaitable[None]], **env: str) -> None:
    """Bring the bed up with an echo at the server, and tell."""

    async def run() -> None:
        async with bed_in(folder, env) as bed:
            with echo(bed.server, 8080):
                # The certificates come from this loop: from here on it may wait for a socket.
                await ready(bed.a)
                await ready(bed.b)
                assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"warm") == b"warm"
                await tell(bed)

    asyncio.run(run())


async def ready(node: Node) -> None:
    """Wait for it."""
    async with asyncio.timeout(PATIENCE_S):
        while "not ready" in await node.readiness():  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.02)


def reset_by_peer(sock: socket.socket) -> None:
    """The next thing that this side learns is a reset."""
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


def fails(netns: Netns, address: str = SERVER, *, source_port: int | None = None) -> None:
    """An app's connection is refused or reset, as it connects or when it reads."""
    with (
        pytest.raises((ConnectionRefusedError, ConnectionResetError)),
        connect(netns, address, source_port=source_port) as sock,
    ):
        sock.recv(1)
