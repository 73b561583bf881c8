"""Ordinary traffic that looks like an attack, and neighbours on the same tunnel: a process of its own.

`-m proxy.tests.soak.suspects JSON` runs one kind for a while beside the neighbours; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from proxy.explicit.socks import Reply, reply
from proxy.tests.explicit.reach import NAME, Caller, name, packed
from proxy.tests.soak import descriptors
from proxy.tests.soak.app import RESET
from proxy.tests.soak.parent import live_and_die_with_parent
from proxy.tests.sockets import receive_exactly, reset, send

NEIGHBOURS: Final = 4
PING_S: Final = 0.1
"""Between two messages of a neighbour."""
PATIENCE_S: Final = 10.0
"""For an echo to a neighbour, and for a step of a suspect, on a loaded machine."""
STALL_S: Final = 0.5
"""A slow reader's connection that takes no byte for so long is full."""
STALL_BYTES: Final = 16 << 20
"""Most that a slow reader sends: more than any window and buffer on the way hold."""
SUSPECTS: Final = 8
"""Connections of a kind at a time; of slow readers twice the four that fill a tunnel's window."""


@dataclass
class Task:
    """What this process is asked to do."""

    kinds: list[str]
    seconds: float
    socks_port: int
    address: str
    closed_port: int
    """Nobody listens there."""
    denied_port: int
    """A policy forbids it."""
    seed: int


@dataclass
class Told:
    """What is printed."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Why neighbours did not live to the end."""
    echoes: int = 0
    worst_ms: float = 0.0
    """The neighbours' slowest echo."""


class Suspects:
    """One connection after another that has nothing bad in mind."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._caller = Caller(socks_port=task.socks_port)
        self._ends = time.monotonic() + task.seconds

    @property
    def left_s(self) -> float:
        """Until all is over."""
        return max(0.0, self._ends - time.monotonic())

    async def reached(self) -> socket.socket:
        """A connection to the app."""
        sock, answer = await self._caller.ask(name(NAME), 80)
        assert answer == reply(Reply.SUCCEEDED), answer
        return sock

    async def aborted(self, random: Random) -> None:
        """A health check, or a load generator with SO_LINGER 0: it has what it wanted and resets."""
        sock = await self.reached()
        await send(sock, random.randbytes(1))
        await receive_exactly(sock, 1)
        reset(sock)

    async def reset_by_the_app(self, _random: Random) -> None:
        """A server that closes with bytes unread."""
        with await self.reached() as sock:
            await send(sock, RESET)
            try:
                assert not await receive_exactly(sock, 1)
            except ConnectionResetError:
                return
            raise AssertionError("FIN instead of RST")

    async def refused(self, _random: Random) -> None:
        """A client that tries again and again where nobody listens."""
        await self._turned_away(self._task.closed_port, Reply.GENERAL_FAILURE)

    async def denied(self, _random: Random) -> None:
        """One that a policy forbids to connect."""
        await self._turned_away(self._task.denied_port, Reply.GENERAL_FAILURE, Reply.NOT_ALLOWED)

    async def _turned_away(self, port: int, *expected: Reply) -> None:
        sock, answer = await self._caller.ask(packed(self._task.address), port)
        sock.close()
        assert answer in {reply(each) for each in expected}, answer

    async def slow_reader(self, _random: Random) -> None:
        """A download that somebody has put on hold."""
        with await self.reached() as sock:
            part, sent = bytes(1 << 16), 0
            try:
                while sent < STALL_BYTES:
                    async with asyncio.timeout(STALL_S):
                        await send(sock, part)
                    sent += len(part)
            except TimeoutError:
                pass  # full
            await asyncio.sleep(self.left_s)
            reset(sock)

    async def tiny_writes(self, random: Random) -> None:
        """A terminal, or a protocol that writes byte by byte."""
        with await self.reached() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            message = random.randbytes(300)
            for at in range(len(message)):
                await send(sock, message[at : at + 1])
            assert await receive_exactly(sock, len(message)) == message

    async def neighbour(self, told: Told) -> None:
        """A connection that lives all the time, and says something now and then."""
        try:
            with await self.reached() as sock:
                while self.left_s:
                    message = told.echoes.to_bytes(32)
                    began = time.monotonic()
                    async with asyncio.timeout(PATIENCE_S):
                        await send(sock, message)
                        answer = await receive_exactly(sock, len(message))
                    assert answer == message, "it ended"
                    told.echoes += 1
                    told.worst_ms = max(told.worst_ms, 1e3 * (time.monotonic() - began))
                    await asyncio.sleep(min(PING_S, self.left_s))
        except (OSError, AssertionError, TimeoutError) as exc:
            told.lost.append(repr(exc))


KINDS: Final[dict[str, Callable[[Suspects, Random], Awaitable[None]]]] = {
    "aborted": Suspects.aborted,
    "reset by the app": Suspects.reset_by_the_app,
    "refused": Suspects.refused,
    "denied": Suspects.denied,
    "tiny writes": Suspects.tiny_writes,
    "slow reader": Suspects.slow_reader,
}


async def run(task: Task) -> Told:
    """Neighbours first; then suspects of each kind beside them, one after another."""
    live_and_die_with_parent()
    descriptors.allow(SUSPECTS * len(task.kinds))
    suspects, told = Suspects(task), Told()

    async def suspect(kind: str, random: Random) -> None:
        while suspects.left_s:
            try:
                # Slow readers take their time on purpose.
                async with asyncio.timeout(task.seconds + PATIENCE_S):
                    await KINDS[kind](suspects, random)
            except (OSError, AssertionError, TimeoutError) as exc:
                told.failures.append(f"{kind}: {exc!r}")
            else:
                told.done[kind] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(NEIGHBOURS):
            group.create_task(suspects.neighbour(told))
        for kind in task.kinds:
            for number in range(SUSPECTS):
                group.create_task(suspect(kind, Random(f"{task.seed} {kind} {number}")))
    return told


if __name__ == "__main__":
    given: dict[str, Any] = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps(vars(asyncio.run(run(Task(**given))))))
