"""The delay line as the kernel's own: netem on every port of the underlay's bridge, toward its member.

A frame leaves the bridge by one port, whichever way it goes, so each port's queue is one way's delay.
These functions run in the underlay's namespace.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from harness.agent.delay.waiting import ROOM_FRAMES

_HANDLE = 0x10000  # 1:
_ABSENT = {errno.ENOENT, errno.EOPNOTSUPP}
"""What kernels say of a queueing discipline that they do not have."""


def lay(links: Sequence[str], delay_us: int) -> bool:
    """Delay what leaves by these links; False where the kernel has no netem, and nothing was changed."""
    with IPRoute() as kernel:
        for link in links:
            (index,) = kernel.link_lookup(ifname=link)
            try:
                kernel.tc("replace", "netem", index, handle=_HANDLE, delay=delay_us, limit=ROOM_FRAMES)
            except NetlinkError as exc:
                if exc.code in _ABSENT:
                    return False
                raise
    return True


def lift(links: Sequence[str]) -> None:
    """Take the delay away."""
    with IPRoute() as kernel:
        for link in links:
            (index,) = kernel.link_lookup(ifname=link)
            kernel.tc("del", index=index, root=True)


def counts(links: Sequence[str]) -> dict[str, int]:
    """Frames carried and lost by the links' queues since they were laid."""
    carried = lost = 0
    with IPRoute() as kernel:
        for link in links:
            (index,) = kernel.link_lookup(ifname=link)
            for queue in kernel.get_qdiscs(index):
                statistics = queue.get_attr("TCA_STATS2")
                carried += statistics.get_attr("TCA_STATS_BASIC")["packets"]
                lost += statistics.get_attr("TCA_STATS_QUEUE")["drops"]
    return {"carried": carried, "lost": lost}
