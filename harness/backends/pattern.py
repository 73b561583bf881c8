"""The bytes that the source sends: known at every offset, so that loss, repetition and swaps show."""

from __future__ import annotations

from array import array

WORDS = 131_101
"""Prime, so that no buffer size divides the period: a lost or repeated buffer shifts what follows."""

PERIOD_BYTES = WORDS * 8

BLOCK = array("Q", range(WORDS)).tobytes()
"""One period: 64-bit counters in the machine's byte order, of which both ends are."""


def pattern(offset: int, size: int) -> bytes:
    """What a source sends from `offset` on, `size` bytes."""
    start = offset % PERIOD_BYTES
    repeats = (start + size) // PERIOD_BYTES + 1
    return (BLOCK * repeats)[start : start + size]
