"""Memory that received bytes pass through: one set per event loop, as nothing stays in it.

Whoever reads into a buffer has passed the bytes on, or copied what could not leave, before its
callback returns.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

from proxy.hbone.connection import MAX_PAYLOAD
from proxy.hbone.frames import HEAD_BYTES

READ_BYTES: Final = 256 * 1024
"""Most bytes of one read: sixteen TLS records for one system call."""
RECORD_BYTES: Final = 16_384 + 256 + 5
"""The longest TLS record. Source: RFC 8446, 5.2."""


class Buffers:
    """The buffers of one loop; `Buffers.of(loop)` finds them."""

    def __init__(self) -> None:
        self.socket = memoryview(bytearray(READ_BYTES))
        """What a socket gave."""
        self.frame = memoryview(bytearray(HEAD_BYTES + MAX_PAYLOAD))
        """A DATA frame in the making: room for its head, then what the app's socket gave."""
        self.payload = self.frame[HEAD_BYTES:]
        """The part of `frame` behind its head."""
        self.plaintext = memoryview(bytearray(READ_BYTES + 2 * RECORD_BYTES))
        """What TLS made of a read, and of the part of a record that was there before."""

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> Buffers:
        """The loop's buffers, made on first use."""
        buffers = _of_loop.get(loop)
        if buffers is None:
            buffers = _of_loop[loop] = Buffers()
        return buffers


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Buffers] = WeakKeyDictionary()
