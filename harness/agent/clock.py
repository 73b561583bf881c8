"""Two clocks held against each other, so that a frame's stamp can be told in the time of the load."""

from __future__ import annotations

import time

READS = 15
"""The narrowest of so many brackets is taken: a preemption falls into few of them."""


def bracket() -> dict[str, int]:
    """CLOCK_REALTIME between two readings of CLOCK_MONOTONIC: `before_ns`, `wall_ns`, `after_ns`."""
    reads = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(READS)]
    before, wall, after = min(reads, key=lambda read: read[2] - read[0])
    return {"before_ns": before, "wall_ns": wall, "after_ns": after}
