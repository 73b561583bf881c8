"""The app of the soak, a process of its own: `-m proxy.tests.soak.app ADDRESS` prints its port, and echoes.

What it buffers for a thousand connections is not the proxies' memory.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from subprocess import PIPE

from proxy.tests.explicit.reach import app_socket, echo
from proxy.tests.soak import descriptors
from proxy.tests.soak.parent import live_and_die_with_parent

RESET = b"reset me, please"
"""Whoever begins with it is closed at once, by RST."""
BACKLOG = 4096
"""A thousand may call at once; asyncio's own 100 would leave some of them without an answer for 10 s."""

RESET_ON_CLOSE = b"\1\0\0\0\0\0\0\0"
"""struct linger, on for 0 s."""


@asynccontextmanager
async def app(address: str) -> AsyncIterator[int]:
    """The app's port, as soon as it listens there; killed after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, address, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def _behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        first = await reader.read(1 << 16)
    except ConnectionResetError:
        writer.close()
        return
    if first == RESET:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()
        return
    writer.write(first)
    await echo(reader, writer)


async def _serve(address: str) -> None:
    live_and_die_with_parent()
    descriptors.allow(1000)
    sock = app_socket(address)
    async with await asyncio.start_server(_behave, sock=sock, backlog=BACKLOG) as server:
        sys.stdout.write(f"{sock.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
