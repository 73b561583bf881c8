"""Nights of one environment made up from a known truth, as the baselines keep them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from harness.analysis.compare import Side
from harness.analysis.excerpt import Excerpt, Fingerprint, Kept
from harness.analysis.measures import METRICS
from harness.plan.model import Configuration, Interception, Path

MESH = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)
DIRECT = Configuration(path=Path.CROSS_NODE, dataplane="none", interception=Interception.NONE)
MEDIANS = {
    Side(configuration=MESH.key, metric="first.warm"): 1.2e-3,
    Side(configuration=MESH.key, metric="steady"): 280e-6,
    Side(configuration=MESH.key, metric="requests"): 9000.0,
    Side(configuration=DIRECT.key, metric="first.new"): 160e-6,
    Side(configuration=DIRECT.key, metric="steady"): 50e-6,
}
FINGERPRINT = Fingerprint(
    suite="0123456789abcdef",
    topology="0123456789abcdef",
    engine="netns",
    kernel="6.18.0",
    machine="Example CPU, 2 cores, 8 GB",
    applier="python-iptables",
)
Effect = Callable[[int, Side], float]
"""Night and side -> what the true median is multiplied by."""


def nights(count: int, effect: Effect = lambda _night, _side: 1.0, *, spread: float = 0.01) -> list[Excerpt]:
    """That many runs, ten rounds each."""
    random = np.random.default_rng(11)
    return [
        Excerpt(
            run=f"202601{night + 1:02}-020000-nightly",
            suite="nightly",
            started=f"2026-01-{night + 1:02}T02:00:00.000+00:00",
            commit=f"{night:040x}",
            complete=True,
            fingerprint=FINGERPRINT,
            resolution=dict.fromkeys(METRICS, 1.05),
            default=MESH.key,
            configurations=(MESH, DIRECT),
            noise={},
            measures={side: _kept(side, effect(night, side), spread, random) for side in MEDIANS},
        )
        for night in range(count)
    ]


def elsewhere(nights: list[Excerpt]) -> list[Excerpt]:
    """The same nights on another kernel."""
    return [
        replace(each, run=f"{each.run}-b", fingerprint=replace(FINGERPRINT, kernel="5.15")) for each in nights
    ]


def _kept(side: Side, effect: float, spread: float, random: np.random.Generator) -> Kept:
    night = float(np.exp(random.normal(0, spread)))
    values = MEDIANS[side] * effect * night * np.exp(random.normal(0, spread, 10))
    return Kept(
        side=side,
        unit="requests/s" if side.metric == "requests" else "s",
        values={(number + 1, 0): float(value) for number, value in enumerate(values)},
        percentiles={},
        samples=1000,
        at_least="",
    )
