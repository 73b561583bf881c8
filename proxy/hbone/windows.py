"""Flow control of one stream or of the connection, each direction on its own. RFC 9113 section 5.2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proxy.hbone.frames import MAX_WINDOW

RESERVE_BYTES: Final = 128 * 1024 * 1024
"""What all tunnels of a process together may hold for slow readers beyond their windows. One may take half of
it, which is sixteen stalled streams of 4 MiB beside the four that its window has. ztunnel: 16 MiB a tunnel,
however many there are, and the fifth slow reader stops everybody (its issue 1945)."""


@dataclass(slots=True)
class Reserve:
    """Memory for bytes whose readers are slow, shared by the connections that are made with it."""

    left: int = RESERVE_BYTES


RESERVE: Final = Reserve()
"""The process's."""


@dataclass(slots=True)
class ReceiveWindow:
    """What the peer may still send, and what we owe it for bytes that have gone.

    `available + held + owed == size + advanced` at all times: a byte is available, or came and is held by
    us, or has gone and its credit is not yet announced.
    """

    size: int
    available: int = field(init=False)
    held: int = 0
    owed: int = 0
    advanced: int = 0
    """Of what is held, bytes whose credit was announced before they have gone."""
    step: int = field(init=False)
    """Credit is announced by this much: rare enough to be free, early enough that a sender at full
    speed never waits."""

    def __post_init__(self) -> None:
        self.available = self.size
        self.step = self.size // 4

    def take(self, length: int) -> bool:
        """A frame of `length` flow-controlled bytes came. False: more than was allowed."""
        self.available -= length
        self.held += length
        return self.available >= 0

    def give_back(self, length: int) -> int:
        """`length` bytes have gone. The increment to announce now, or 0."""
        self.held -= length
        increment = self.owed + length
        if increment < self.step:
            self.owed = increment
            return 0
        self.owed = 0
        self.available += increment
        return increment


@dataclass(slots=True)
class SendWindow:
    """What we may still send. Negative after the peer shrinks SETTINGS_INITIAL_WINDOW_SIZE."""

    available: int

    def grow(self, increment: int) -> bool:
        """Apply a WINDOW_UPDATE or a change of SETTINGS. False: over the limit of 2^31-1."""
        self.available += increment
        return self.available <= MAX_WINDOW
