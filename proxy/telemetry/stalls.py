"""Whether the event loop stands still: a timer that looks how late it fires.

A stall (a pause of the garbage collector, a blocking call, a scheduler that runs somebody else) is met by
every connection of the node at once. Linkerd, Envoy and Node.js watch their loops the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.telemetry.stats import Stats

PERIOD_S = 0.02
"""Between looks: 50 a second, about 5 us each."""
STALL_S = 0.025
"""Lateness from which on it is one. A turn of a busy loop takes up to 10 ms here."""


class Timers(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float:
        """Its clock, seconds."""

    def call_at(self, when: float, callback: Callable[[], None]) -> object:
        """Call at that time, or as soon after it as the loop can."""


class StallWatch:
    """Counts stalls and their time into the statistics from the moment that it is made."""

    def __init__(self, loop: Timers, stats: Stats) -> None:
        self._loop = loop
        self._stats = stats
        self._expect()

    def _expect(self) -> None:
        self._due = self._loop.time() + PERIOD_S
        self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        late_s = self._loop.time() - self._due
        if late_s > STALL_S:
            self._stats.loop_stalls += 1
            self._stats.loop_stalled_ns += round(late_s * 1e9)
        self._expect()
