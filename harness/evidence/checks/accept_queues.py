"""No connection was lost or delayed at a listener, and none was opened by Fast Open (M10, M19)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge

LOSSES = ("TcpExt.ListenDrops", "TcpExt.ListenOverflows")
FAST_OPEN = "TcpExt.TCPFastOpen"


def check(case: Case) -> Outcome:
    """Listen drops, listen overflows and Fast Open counters did not move at client and target."""
    laws: list[Law] = []
    for namespace in dict.fromkeys(end.netns for end in (case.client, *case.targets)):
        laws += [
            equal(
                f"{namespace} {counter}",
                case.sockets.growth(namespace, counter),
                0,
                "a full queue looks like latency",
            )
            for counter in LOSSES
        ]
        laws += [
            equal(
                f"{namespace} {counter}",
                case.sockets.growth(namespace, counter),
                0,
                "it saves a round trip unseen",
            )
            for counter in case.sockets.counters(namespace, FAST_OPEN)
        ]
    return judge(laws)
