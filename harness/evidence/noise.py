"""Whether something outside disturbed the cell (M15, M16, M18), or the path stood still (M17).

What keeps the machine busy meets all lanes of a bout alike, as they have their turns within milliseconds: it
widens intervals and biases no ratio, so noisy cells stay in comparisons. A suspension meets one turn, and the
lateness of a delay line the distance itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.evidence.model import Remark, RemarkKind, SampleCounts
from harness.evidence.sources.delay import Delay
from harness.evidence.sources.generator import Health
from harness.evidence.sources.host import Host

STEAL_SHARE = 0.10
"""Of a cell's CPU time; on a shared machine 1.8 % in half of 172 cells, 9.1 % and more in a tenth."""
DRIFT = 0.10
"""Relative change of a fixed computation's time; 6 % was seen between quiet moments of one machine."""
SUSPENDED_NS = 1_000_000
"""Difference of two clocks read one after the other, with room for a preemption between the reads."""

PAUSE_NS, PAUSE_TRIPS = 25_000_000, 8
"""A pause of 25 ms is one that somebody notices; beside it twice the trips of a cold first packet."""
WAITED_SHARE = 0.25
"""Of the requests' time, what the process that takes their times may wait for a core in it."""

LATE_SHARE, LATE_NS = 0.1, 500_000
"""Of a round trip; the forwarder adds 0.15 to 0.45 ms with six processes waiting for each core, median."""


def disturbances(host: Host) -> tuple[Remark, ...]:
    """A remark for each kind of disturbance, with its figures."""
    remarks = []
    if host.steal_share > STEAL_SHARE:
        reason = f"{host.steal_share:.1%} of the CPU time was stolen, more than {STEAL_SHARE:.0%}"
        remarks.append(_remark(reason, steal_share=round(host.steal_share, 5)))
    if abs(host.drift) > DRIFT:
        reason = f"a fixed computation took {host.drift:+.1%} longer after the cell, beyond {DRIFT:.0%}"
        remarks.append(_remark(reason, drift=round(host.drift, 4)))
    if host.throttled:
        remarks.append(
            _remark(f"throttled in {host.throttled} periods by our cgroup's limit", throttled=host.throttled)
        )
    if host.suspended_ns > SUSPENDED_NS:
        remarks.append(
            _remark(
                f"the machine was suspended for {host.suspended_ns / 1e6:.0f} ms",
                RemarkKind.DISTURBED,
                suspended_ns=host.suspended_ns,
            )
        )
    return tuple(remarks)


def pauses(samples: SampleCounts, rtt_ns: int) -> tuple[Remark, ...]:
    """A remark for each stage in which an answer kept its client waiting unduly.

    What stood still may be the proxy, the backend or the kernel; it is told by the same means for every
    data plane. It is a result like any other, so the samples stay.
    """
    bound = PAUSE_NS + PAUSE_TRIPS * rtt_ns
    return tuple(
        Remark(
            kind=RemarkKind.PAUSED,
            stage=stage,
            reason=f"stage {stage}: an answer took {longest / 1e6:.0f} ms, more than {bound / 1e6:g} ms",
            numbers={"longest_ns": longest},
        )
        for stage, longest in samples.longest_ns.items()
        if longest > bound
    )


def lateness(line: Delay) -> tuple[Remark, ...]:
    """A remark where the delay line added so much by itself that the cell's distance is not known."""
    if not line.rtt_ns or line.own_ns <= line.rtt_ns * LATE_SHARE + LATE_NS:
        return ()
    reason = (
        f"the delay line was {line.own_ns / 1e6:.2f} ms late at {line.rtt_ns / 1e6:g} ms (median round trip)"
    )
    return (_remark(reason, RemarkKind.DISTURBED, own_ns=line.own_ns, rtt_ns=line.rtt_ns),)


def starved(stages: Mapping[str, Health]) -> tuple[Remark, ...]:
    """A remark for each stage of the probe process in whose requests it waited for a core itself."""
    remarks = []
    for stage, health in stages.items():
        if health.waited_share > WAITED_SHARE:
            reason = (
                f"stage {stage}: the generator waited for a core for {health.waited_share:.0%} of the time "
                f"of its requests, more than {WAITED_SHARE:.0%}"
            )
            remarks.append(_remark(reason, waited_share=round(health.waited_share, 4)))
    return tuple(remarks)


def _remark(reason: str, kind: RemarkKind = RemarkKind.NOISY, **numbers: float) -> Remark:
    return Remark(kind=kind, stage="", reason=reason, numbers=numbers)
