"""Whether the load generator, and not what it measures, set a stage's pace (M01, M14).

What is said here bounds a figure from one side; what makes it void is the check `generator`'s matter.
"""

from __future__ import annotations

from harness.evidence.model import Remark, RemarkKind
from harness.evidence.sources.generator import Health

CPU_SHARE = 0.9
"""Of one core; Locust is one thread and warns of itself from here on."""
ACHIEVED_SHARE = 0.99
"""Of the rate that was asked for; with less, the schedule slipped."""
LAG_NS = 10_000_000
"""99th percentile of how late a timer fired, where requests are sent on a schedule."""
STILL_NS = 100_000_000
"""The same, from which on nothing of such a stage is the path's: the check `generator` voids the cell."""


def limits(stages: dict[str, Health]) -> tuple[Remark, ...]:
    """A remark for each stage that the generator limited, with its figures."""
    return tuple(_remark(stage, health) for stage, health in stages.items() if _reasons(health))


def _remark(stage: str, health: Health) -> Remark:
    numbers = {"cpu_share": round(health.cpu_share, 4), "achieved_share": round(health.achieved_share, 4)}
    if health.lag_p99_ns is not None:
        numbers["lag_p99_ns"] = health.lag_p99_ns
    return Remark(
        kind=RemarkKind.LIMITED,
        stage=stage,
        reason=f"the generator {' and '.join(_reasons(health))}",
        numbers=numbers,
    )


def _reasons(health: Health) -> list[str]:
    reasons = []
    if health.cpu_share > CPU_SHARE:
        reasons.append(f"used {health.cpu_share:.0%} of a core, more than {CPU_SHARE:.0%}")
    if health.achieved_share < ACHIEVED_SHARE:
        reasons.append(
            f"made {health.achieved_share:.1%} of {health.scheduled} requests, under {ACHIEVED_SHARE:.0%}"
        )
    if health.scheduled and health.lag_p99_ns is not None and health.lag_p99_ns > LAG_NS:
        reasons.append(f"was {health.lag_p99_ns / 1e6:.1f} ms late (p99), more than {LAG_NS / 1e6:.0f} ms")
    return reasons
