"""What the agent and the forwarder both see: the delay in force, what was carried, how late it was.

Shared memory of 64-bit integers. Each is written by one side only, in one store, so nobody waits for
the other; the delay can change while frames are under way.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field

KEPT = 8192
"""Frames whose lateness is kept, the latest ones."""

_DELAY_NS, _CARRIED, _LOST, _HEAD = 0, 1, 2, 3
_BYTES = 8 * (_HEAD + KEPT)


@dataclass(slots=True)
class Board:
    """One view of the shared memory behind a descriptor."""

    descriptor: int
    _numbers: memoryview = field(init=False)

    def __post_init__(self) -> None:
        self._numbers = memoryview(mmap.mmap(self.descriptor, _BYTES)).cast("q")

    @classmethod
    def new(cls) -> Board:
        """An empty one; its descriptor can be handed on to another process."""
        descriptor = os.memfd_create("ambientbench-delay", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _BYTES)
        return cls(descriptor)

    @property
    def delay_ns(self) -> int:
        """How long each frame waits, one way."""
        return self._numbers[_DELAY_NS]

    @delay_ns.setter
    def delay_ns(self, value: int) -> None:
        self._numbers[_DELAY_NS] = value

    @property
    def carried(self) -> int:
        """Frames that went on."""
        return self._numbers[_CARRIED]

    @property
    def lost(self) -> int:
        """Frames for which there was no room, or that the kernel did not take."""
        return self._numbers[_LOST]

    def lose(self) -> None:
        """Count a lost frame."""
        self._numbers[_LOST] += 1

    def carry(self, late_ns: int) -> None:
        """Count a frame that went on, and by how much after its instant."""
        carried = self._numbers[_CARRIED]
        self._numbers[_HEAD + carried % KEPT] = late_ns
        self._numbers[_CARRIED] = carried + 1

    def lateness(self, since: int) -> list[int]:
        """Nanoseconds by which frames were late, those carried after the first `since`, in no order."""
        carried = self.carried
        return [self._numbers[_HEAD + index % KEPT] for index in range(max(since, carried - KEPT), carried)]

    def close(self) -> None:
        """Let go of the memory."""
        self._numbers.release()
        os.close(self.descriptor)
