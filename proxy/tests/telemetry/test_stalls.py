"""Stalls of the event loop are counted, ordinary lateness is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.telemetry.stalls import PERIOD_S, STALL_S, StallWatch
from proxy.telemetry.stats import Stats


class Loop:
    """A loop with a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> None:
        self.waiting.append((when, callback))

    def fire(self, late_s: float) -> None:
        """Let the one timer fire, so late."""
        ((when, callback),) = self.waiting
        self.waiting.clear()
        self.now = when + late_s
        callback()


@pytest.mark.parametrize(
    ("late_s", "stalls"), [(0.0, 0), (STALL_S - 0.001, 0), (STALL_S + 0.001, 1), (1.0, 1)]
)
def test_only_what_is_late_enough_is_a_stall(late_s: float, stalls: int) -> None:
    """F17, M17."""
    loop, stats = Loop(), Stats()
    StallWatch(loop, stats)

    loop.fire(late_s)

    assert stalls == stats.loop_stalls
    assert stats.loop_stalled_ns == pytest.approx(late_s * 1e9 * stalls, abs=10)


def test_it_goes_on_looking_from_where_it_is() -> None:
    """A stall of a second is one stall, not fifty."""
    loop, stats = Loop(), Stats()
    StallWatch(loop, stats)

    loop.fire(1.0)
    loop.fire(0.0)

    assert stats.loop_stalls == 1
    assert loop.waiting[0][0] == pytest.approx(loop.now + PERIOD_S)
