"""Real TCP sockets for tests, and waiting for states instead of for time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

PATIENCE_S = 20.0
"""A state that does not come by then never will, however slow the machine."""


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """(client, accepted), connected over loopback, non-blocking, Nagle off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    for sock in (client, accepted):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, accepted


def free_port() -> int:
    """A port of the loopback that nobody had a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def receive_all(sock: socket.socket) -> bytes:
    """Everything until FIN; ConnectionResetError after a reset."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    while part := await loop.sock_recv(sock, 1 << 20):
        received += part
    return bytes(received)


async def receive_exactly(sock: socket.socket, length: int) -> bytes:
    """`length` bytes; fewer only when FIN came first."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    while len(received) < length and (part := await loop.sock_recv(sock, length - len(received))):
        received += part
    return bytes(received)


async def send(sock: socket.socket, data: bytes) -> None:
    """All of `data`."""
    await asyncio.get_running_loop().sock_sendall(sock, data)


def reset(sock: socket.socket) -> None:
    """Close by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


async def until(state: Callable[[], object]) -> None:
    """Let the loop turn until `state` is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not state():  # noqa: ASYNC110  states of plain objects, which tell nobody of a change
            await asyncio.sleep(0)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Run `work` beside the block, and end it with the block."""
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield task
        task.cancel()


LoopFactory = Callable[[], asyncio.AbstractEventLoop]
LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop}
"""The loops that are there: what is about readiness and ends holds on either."""
with suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


def run(test: Coroutine[Any, Any, None], *, loop: LoopFactory | None = None) -> None:
    """Run a test's coroutine, with a bound; on asyncio's own loop, if no other is asked for."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(bounded())
