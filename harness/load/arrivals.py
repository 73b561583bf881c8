"""When the requests of an open loop are due: pure, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from harness.plan.model import Arrivals

NS_PER_S = 1_000_000_000
LATE_NS = 1_000_000
"""A request that starts so much after its intended time counts as late."""


def instants(arrivals: Arrivals, *, rate_hz: float, seconds: float, seed: str) -> list[int]:
    """The instants within a window, nanoseconds from its opening, ascending.

    Args:
        rate_hz: Mean rate, > 0.
        seed: Of a Poisson process's gaps; constant arrivals draw nothing.

    Returns:
        Constant: one every 1 / rate_hz from 0 on. Poisson: gaps are exponential and independent, so the
        number within the window has mean and variance rate_hz * seconds.
    """
    end_ns = seconds * NS_PER_S
    return [int(instant) for instant in _before(end_ns, _gapped(arrivals, NS_PER_S / rate_hz, seed))]


def _gapped(arrivals: Arrivals, mean_ns: float, seed: str) -> Iterator[float]:
    if arrivals is Arrivals.CONSTANT:
        count = 0
        while True:
            yield count * mean_ns
            count += 1
    drawn = random.Random(seed)  # noqa: S311 - gaps that can be drawn again, not a secret
    instant = 0.0
    while True:
        instant += drawn.expovariate(1 / mean_ns)
        yield instant


def _before(end: float, instants: Iterator[float]) -> Iterator[float]:
    for instant in instants:
        if instant >= end:
            return
        yield instant
