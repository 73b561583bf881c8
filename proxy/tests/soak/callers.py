"""The clients of the soak, a process of their own: `-m proxy.tests.soak.callers PORT SECONDS N ABORTS SEED`.

Prints one JSON object: how often each kind was done, and what failed.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from proxy.explicit.socks import Reply, reply
from proxy.tests.explicit.reach import NAME, Caller, name
from proxy.tests.soak import descriptors
from proxy.tests.soak.parent import live_and_die_with_parent
from proxy.tests.sockets import receive_all, receive_exactly, reset, send

STEP_TIMEOUT_S: Final = 60.0
"""For one connection of any kind, on a loaded machine."""


@dataclass
class Told:
    """What is printed."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


async def call(port: int, seconds: float, connections: int, aborts: int, seed: int) -> Told:
    """Keep that many connections going for a while, then abort responses."""
    live_and_die_with_parent()
    descriptors.allow(connections)
    r, told = Caller(socks_port=port), Told()
    ends = time.monotonic() + seconds
    async with asyncio.TaskGroup() as workers:
        for number in range(connections):
            workers.create_task(_worker(r, told, Random(seed * connections + number), ends))
    await _abort(r, told, aborts)
    return told


async def _worker(r: Caller, told: Told, random: Random, ends: float) -> None:
    """One connection after another, of any kind, with pauses in which it is idle."""
    kinds: list[tuple[str, Callable[[Caller, Random], Awaitable[None]], int]] = [
        ("ping-pong", partial(_ping_pong, ends=ends), 12),
        ("bulk", _bulk, 2),
        ("half-close", _half_close, 3),
        ("abort", _aborted, 3),
        ("junk", _junk, 1),
    ]
    await asyncio.sleep(random.random() * min(5.0, _left_s(ends)))
    while time.monotonic() < ends:
        kind, step, _ = random.choices(kinds, weights=[weight for _, _, weight in kinds])[0]
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await step(r, random)
        except (OSError, AssertionError, TimeoutError, ExceptionGroup) as exc:
            told.failures.append(f"{kind}: {exc!r}")
        else:
            told.done[kind] += 1


def _left_s(ends: float) -> float:
    return max(0.0, ends - time.monotonic())


async def _reached(r: Caller) -> socket.socket:
    sock, answer = await r.ask(name(NAME), 80)
    assert answer == reply(Reply.SUCCEEDED), answer
    return sock


async def _ping_pong(r: Caller, random: Random, ends: float) -> None:
    """Messages with pauses between them; when time is up, the rest without."""
    with await _reached(r) as sock:
        for _ in range(random.randint(1, 20)):
            message = random.randbytes(random.randint(1, 2000))
            await send(sock, message)
            assert await receive_exactly(sock, len(message)) == message
            await asyncio.sleep(min(random.random(), _left_s(ends)))
        sock.shutdown(socket.SHUT_WR)
        assert await receive_all(sock) == b""


async def _bulk(r: Caller, random: Random) -> None:
    payload = random.randbytes(1 << random.randint(14, 20))
    with await _reached(r) as sock:
        async with asyncio.TaskGroup() as group:
            group.create_task(send(sock, payload))
            assert await receive_exactly(sock, len(payload)) == payload


async def _half_close(r: Caller, random: Random) -> None:
    message = random.randbytes(random.randint(0, 5000))
    with await _reached(r) as sock:
        await send(sock, message)
        sock.shutdown(socket.SHUT_WR)
        assert await receive_all(sock) == message


async def _aborted(r: Caller, random: Random) -> None:
    sock = await _reached(r)
    await send(sock, bytes(random.randint(1, 100_000)))
    await receive_exactly(sock, 1)
    reset(sock)


async def _junk(r: Caller, random: Random) -> None:
    with await r.dial() as sock:
        await send(sock, random.choice((b"GET / HTTP/1.1\r\n\r\n", random.randbytes(50), b"\5\1\0\5\1")))
        try:
            sock.shutdown(socket.SHUT_WR)
            await receive_all(sock)
        except OSError as exc:
            # reset, as bytes behind the junk were not read, maybe before we said that we had ended
            if exc.errno not in {errno.ECONNRESET, errno.ENOTCONN}:
                raise


async def _abort(r: Caller, told: Told, aborts: int) -> None:
    """F13: clients that leave in the middle of their response, fifty at a time."""
    free = asyncio.Semaphore(50)

    async def one() -> None:
        async with free:
            sock = await _reached(r)
            await send(sock, bytes(200_000))
            await receive_exactly(sock, 1000)
            reset(sock)
            told.done["aborted response"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(aborts):
            group.create_task(one())


if __name__ == "__main__":
    port, seconds, connections, aborts, seed = sys.argv[1:]
    answer = asyncio.run(call(int(port), float(seconds), int(connections), int(aborts), int(seed)))
    sys.stdout.write(json.dumps({"done": answer.done, "failures": answer.failures}))
