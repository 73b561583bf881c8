"""Whether something disturbed the cell: the machine (M15, M16, M18), or a proxy that stood still (M17)."""

from __future__ import annotations

from harness.evidence.model import Remark, RemarkKind
from harness.evidence.sources.delay import Delay
from harness.evidence.sources.host import Host
from harness.evidence.sources.tunnels import Tunnels

STEAL_SHARE = 0.10
"""Of a cell's CPU time; above, the hypervisor ran somebody else too often for the cell to be used.

On a shared machine some steal is the weather: over 172 cells of 2 s the median was 1.8 %, the 90th percentile
9.1 %. What lies below moves equal configurations apart as well, so the A/A control bounds what it can fake.
A machine of its own has none.
"""
DRIFT = 0.10
"""Relative change of a fixed computation's time; 6 % was seen between quiet moments of one machine."""
SUSPENDED_NS = 1_000_000
"""Difference of two clocks read one after the other, with room for a preemption between the reads."""

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
                suspended_ns=host.suspended_ns,
            )
        )
    return tuple(remarks)


def stalls(proxies: Tunnels) -> tuple[Remark, ...]:
    """A remark for each proxy whose event loop stood still during the cell.

    Raises:
        Unreadable: A proxy does not say.
    """
    remarks = []
    for node in proxies.nodes:
        times = proxies.growth(node, "loop_stalls")
        if times:
            stalled_ns = proxies.growth(node, "loop_stalled_ns")
            reason = f"proxy {node} stood still {times} times, {stalled_ns / 1e6:.0f} ms together"
            remarks.append(_remark(reason, stalls=times, stalled_ns=stalled_ns))
    return tuple(remarks)


def lateness(line: Delay) -> tuple[Remark, ...]:
    """A remark where the delay line added so much by itself that the cell's distance is not known."""
    if not line.rtt_ns or line.own_ns <= line.rtt_ns * LATE_SHARE + LATE_NS:
        return ()
    reason = (
        f"the delay line was {line.own_ns / 1e6:.2f} ms late at {line.rtt_ns / 1e6:g} ms (median round trip)"
    )
    return (_remark(reason, own_ns=line.own_ns, rtt_ns=line.rtt_ns),)


def _remark(reason: str, **numbers: float) -> Remark:
    return Remark(kind=RemarkKind.NOISY, stage="", reason=reason, numbers=numbers)
