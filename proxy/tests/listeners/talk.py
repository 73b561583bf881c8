"""What apps and callers say to each other through two proxies."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.tests.listeners.cluster import Cluster
from proxy.tests.sockets import PATIENCE_S, receive_all, send


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says who called, then sends back what comes, and ends when the caller has ended."""
    peer = writer.get_extra_info("peername")
    writer.write(f"{peer[0]}\n".encode())
    try:
        while part := await reader.read(1 << 20):
            writer.write(part)
            await writer.drain()
    except ConnectionResetError:
        pass
    writer.close()


async def greeted(sock: socket.socket) -> str:
    """The first line: whom the app saw."""
    line = b""
    while not line.endswith(b"\n"):
        part = await asyncio.get_running_loop().sock_recv(sock, 1)
        if not part:
            break
        line += part
    return line.decode().strip()


async def expect_reset(sock: socket.socket) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with sock, pytest.raises(ConnectionResetError):
            await receive_all(sock)


async def exchange(c: Cluster, source: str, destination: str, payload: bytes = b"hello") -> str:
    """One echo to the end; whom the app saw."""
    with await c.dial(source, destination) as sock:
        seen = await greeted(sock)
        await send(sock, payload)
        sock.shutdown(socket.SHUT_WR)
        assert await receive_all(sock) == payload
    return seen
