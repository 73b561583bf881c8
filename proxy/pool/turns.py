"""One opener of a key after another, for `off-serialised`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.pool.key import Key


class Turns:
    """Who opens for which key now, and who is next."""

    def __init__(self) -> None:
        self._locks: dict[Key, asyncio.Lock] = {}
        self._wanted: dict[Key, int] = {}
        """Openers that hold the key's lock or wait for it."""

    def __len__(self) -> int:
        """Keys for which somebody opens."""
        return len(self._locks)

    def taken(self, key: Key) -> bool:
        """Whether the next opener of a key has to wait."""
        return key in self._locks

    @asynccontextmanager
    async def turn(self, key: Key) -> AsyncIterator[None]:
        """Hold the key for the length of the block; wait until the others are done."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._wanted[key] = self._wanted.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key], self._locks[key]
