"""The knee: the highest open-loop rate whose p99 stays below a limit, searched step by step.

Rates double until one misses; then the gap between the highest that held and the lowest that missed is
halved, in the logarithm, until it is narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

ORDER = 150
KEYS = {
    "p99_ms": Key(default=5.0, low=0.01, high=10_000, about="What the 99th percentile has to stay below."),
    "from_hz": Key(default=1000.0, low=10, high=1_000_000, about="The first rate."),
    "to_hz": Key(default=64_000.0, low=10, high=1_000_000, about="The highest rate that is tried."),
    "steps": Key(default=8, low=1, high=50, about="At most so many rates."),
    "connections": Key(default=16, low=1, high=10_000, about="Live ones, the same for all steps."),
    "seconds": Key(default=0.25, high=3600, about="Of each step, or as long as 1,000 requests take."),
}
SAMPLES = {"knee": Rows.STEP}
METRICS = (
    Metric(
        name="knee",
        title="highest rate within the limit",
        unit="requests/s",
        stage="knee",
        how=How.KNEE,
        lower_is_better=False,
    ),
)


NARROW = 1.1
"""Ratio of the lowest rate that missed to the highest that held, from which on the search ends."""
LEAST_SHARE = 0.25
"""Of the first rate: where not even that holds, the search ends without a knee; slower steps last longer."""
SAMPLES_PER_STEP = 1000
"""Fewest requests of which a p99 is taken: n >= 10 / (1 - p)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rate that was tried."""

    rate_hz: float
    within: bool
    """Whether p99 stayed below the limit, at least 99 % of the rate was kept, and no request failed."""


def next_rate(tried: Sequence[Step], *, from_hz: float, to_hz: float, steps: int) -> float | None:
    """The next rate of the search, None where it ends."""
    if not tried:
        return min(from_hz, to_hz)
    missed = min((step.rate_hz for step in tried if not step.within), default=None)
    held = highest(tried)
    if len(tried) >= steps:
        return None
    if missed is None:
        return None if held >= to_hz else min(2 * held, to_hz)
    if not held:
        return missed / 2 if missed / 2 >= LEAST_SHARE * from_hz else None
    return None if missed / held <= NARROW else math.sqrt(missed * held)


def highest(tried: Sequence[Step]) -> float:
    """The highest rate that held below the lowest that did not; 0 where none did."""
    missed = min((step.rate_hz for step in tried if not step.within), default=math.inf)
    return max((step.rate_hz for step in tried if step.within and step.rate_hz < missed), default=0.0)


def stages(load: Load) -> Iterator[Stage]:
    """One stage that holds all steps."""
    if asked := load.scenario("knee"):
        seconds = float(asked["seconds"]) * int(asked["steps"])
        yield Stage(name="knee", op="knee", seconds=seconds, arguments=asked)
