"""Flow control of one stream or of the connection, each direction on its own. RFC 9113 section 5.2."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.hbone.frames import MAX_WINDOW


@dataclass(slots=True)
class ReceiveWindow:
    """What the peer may still send, and what we owe it for bytes that have gone.

    `available + held + owed == size` at all times: a byte is available, or came and is held by us,
    or has gone and its credit is not yet announced.
    """

    size: int
    available: int = field(init=False)
    held: int = 0
    owed: int = 0

    def __post_init__(self) -> None:
        self.available = self.size

    def take(self, length: int) -> bool:
        """A frame of `length` flow-controlled bytes came. False: more than was allowed."""
        self.available -= length
        self.held += length
        return self.available >= 0

    def give_back(self, length: int) -> int:
        """`length` bytes have gone. The increment to announce now, or 0.

        Announced by the quarter window: rare enough to be free, early enough that a sender at full
        speed never waits.
        """
        self.held -= length
        self.owed += length
        if self.owed * 4 < self.size:
            return 0
        increment, self.owed = self.owed, 0
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
