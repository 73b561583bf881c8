"""Frames with the instant at which each may go on: in order, and no more than there is room for."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

ROOM_FRAMES = 20_000
"""A second of a busy link's frames; a cell's probes have a few dozen under way."""
ROOM_BYTES = 64 << 20
"""Eight streams' full windows of 6 MB (tcp_rmem) and some."""


@dataclass(slots=True)
class Waiting:
    """The queue. Pure: who calls says what time it is."""

    room_frames: int = ROOM_FRAMES
    room_bytes: int = ROOM_BYTES
    _frames: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    _bytes: int = 0
    _counted: int = 0

    @property
    def next_ns(self) -> int | None:
        """When the first of them is due; None when there is none."""
        return self._frames[0][0] if self._frames else None

    def put(self, due_ns: int, lane: int, frame: bytes) -> bool:
        """Keep a frame that came in by `lane`; False when there is no room, and it is lost."""
        if len(self._frames) >= self.room_frames or self._bytes + len(frame) > self.room_bytes:
            return False
        # what is due at the same instant leaves as it came
        self._counted += 1
        heapq.heappush(self._frames, (due_ns, self._counted, lane, frame))
        self._bytes += len(frame)
        return True

    def take(self, now_ns: int) -> tuple[int, int, bytes] | None:
        """The first frame that is due, with its instant and its lane; None when none is."""
        if not self._frames or self._frames[0][0] > now_ns:
            return None
        due_ns, _, lane, frame = heapq.heappop(self._frames)
        self._bytes -= len(frame)
        return due_ns, lane, frame
