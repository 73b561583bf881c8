"""Turns at something that only a few may do at a time, the most urgent next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import IntEnum


class Urgency(IntEnum):
    """How much depends on a certificate; as ztunnel's Background, Warmup and RealTime."""

    RENEWAL = 0
    """There is one that is valid."""
    NEW = 1
    """There is none."""
    AWAITED = 2
    """There is none, and a connection waits for it."""


class Turns:
    """A limited number of places. The most urgent of those that wait is next; of equals, the first."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[asyncio.Future[None], Callable[[], Urgency]] = {}

    @asynccontextmanager
    async def taken(self, urgency: Callable[[], Urgency]) -> AsyncIterator[None]:
        """Hold a place for the length of the block. `urgency` is asked whenever a place is free."""
        if self._free:
            self._free -= 1
        else:
            await self._turn(urgency)
        try:
            yield
        finally:
            self._pass_on()

    async def _turn(self, urgency: Callable[[], Urgency]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = urgency
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None:
                self._pass_on()  # it had just been given
            raise

    def _pass_on(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        turn = max(self._waiting, key=lambda waiting: self._waiting[waiting]())
        del self._waiting[turn]
        turn.set_result(None)
