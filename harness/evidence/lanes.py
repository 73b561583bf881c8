"""One lane's share of what the agents counted, in the form of a testbed that holds that lane alone.

Nodes, hosts and the underlay are every lane's. There the agent counts packets for each lane apart, under the
same names; what cannot be told apart (the kernel's TCP counters, connection tables) stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHARED = 0
"""The lane of a counter that is of no lane in particular."""


def of_lane(namespaces: Mapping[str, Any], lane: int) -> dict[str, Any]:
    """The lane's counts of a `counters` reply that was asked for this lane, and maybe others.

    Args:
        namespaces: Namespace -> what the agent said of it.
        lane: The lane's number.

    Returns:
        The same without other lanes' pods; rules that count for another lane are left out, `stray` is a sum.
    """
    return {
        name: {
            **content,
            "rules": [rule for rule in content["rules"] if rule["lane"] in {SHARED, lane}],
            "stray": sum(count for of, count in content["stray"].items() if int(of) in {SHARED, lane}),
        }
        for name, content in namespaces.items()
        if content["lane"] in {SHARED, lane}
    }
