"""Echo, sink and source: plain TCP, on raw sockets so that no byte is copied more than needed.

asyncio's streams would copy what the kernel does not take at once; `sock_sendall` on a view does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable

from harness.backends.pattern import BLOCK, PERIOD_BYTES

log = logging.getLogger("harness.backends")

READ_BYTES = 64 * 1024
"""One read. Measured over loopback: 64 KiB reads reach 23 to 30 Gb/s, 256 KiB and more 11 to 17."""
BACKLOG = 4096
COUNT_LINE_MAX = 20
"""Longest line that asks the source for bytes: 19 digits and a newline."""
MARK_BYTES = 256 * 1024
"""How often the sink says how much has arrived."""
WRITE_BYTES = 1024 * 1024
"""One write of the source."""
BLOCKS = BLOCK + BLOCK[:WRITE_BYTES]
"""A period and what a write that crosses its end needs."""

Conversation = Callable[[socket.socket], Awaitable[None]]


async def listen(conversation: Conversation, address: str, port: int) -> None:
    """Accept for ever, peers of the address's own family alone.

    Each connection has a task of its own, its end never ends another's.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=BACKLOG) as listener:
        listener.setblocking(False)
        async with asyncio.TaskGroup() as group:
            while True:
                connection, peer = await loop.sock_accept(listener)
                group.create_task(_serve(conversation, connection), name=f"{conversation.__name__} {peer}")


async def _serve(conversation: Conversation, connection: socket.socket) -> None:
    with connection:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await conversation(connection)
        except OSError as exc:  # the peer went away: its right, and this connection's end
            log.info("connection ended service=%s error=%s", conversation.__name__, exc)


async def echo(connection: socket.socket) -> None:
    """Send back every byte; at end of stream, end the other direction too."""
    loop = asyncio.get_running_loop()
    view = memoryview(bytearray(READ_BYTES))
    while size := await loop.sock_recv_into(connection, view):
        await loop.sock_sendall(connection, view[:size])
    connection.shutdown(socket.SHUT_WR)


async def sink(connection: socket.socket) -> None:
    """Read until end of stream, then answer `<bytes> <sha256 in hex>\\n`.

    On the way `<bytes>\\n` for every `MARK_BYTES` that arrived: a sender that pauses learns when all it sent
    is here.
    """
    loop = asyncio.get_running_loop()
    view = memoryview(bytearray(READ_BYTES))
    digest = hashlib.sha256()
    total = marked = 0
    while size := await loop.sock_recv_into(connection, view):
        digest.update(view[:size])
        total += size
        if total - marked >= MARK_BYTES:
            marked = total - total % MARK_BYTES
            await loop.sock_sendall(connection, f"{marked}\n".encode())
    await loop.sock_sendall(connection, f"{total} {digest.hexdigest()}\n".encode())
    connection.shutdown(socket.SHUT_WR)


async def source(connection: socket.socket) -> None:
    """Read lines `<bytes>\\n`; send that many bytes of the pattern for each, one after another."""
    loop = asyncio.get_running_loop()
    block = memoryview(BLOCKS)
    inbox, offset = b"", 0
    while more := await loop.sock_recv(connection, READ_BYTES):
        *lines, inbox = (inbox + more).split(b"\n")
        counts = [int(line) for line in lines if line.isdigit()]
        if len(counts) < len(lines) or len(inbox) >= COUNT_LINE_MAX:
            log.warning("source refused a request line=%r expected=<bytes>\\n", [*lines, inbox])
            return
        asked = sum(counts)
        while asked:
            at = offset % PERIOD_BYTES
            size = min(asked, WRITE_BYTES)
            await loop.sock_sendall(connection, block[at : at + size])
            offset += size
            asked -= size
            await asyncio.sleep(0)  # a reader that keeps up must not starve the other streams
    connection.shutdown(socket.SHUT_WR)
