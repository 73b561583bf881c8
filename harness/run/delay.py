"""Distance between the nodes, as the cells use it: the line is switched, measured, and read around the load.

A testbed in which no delay was ever asked for has no line, and its agents are not even asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from harness.evidence.sources import delay
from harness.testbed.testbed import Testbed
from harness.topology.model import Host, Pod, Service

TRIPS = 5
"""Round trips before a cell's load, and as many after it."""
FITTED_TRIPS = 25
"""Round trips at each delay before the first cell: a median and its spread."""
SETTLE_S = 2.0
"""Longest wait for that: tunnels that were dropped have said goodbye within two round trips."""
NS_PER_MS = 1_000_000

Target = Pod | Host | Service


class Distance:
    """One testbed's delay line."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._rtt_ms = 0
        self._trips_ns: list[int] = []

    def bring(self, rtt_ms: int) -> None:
        """Let round trips between nodes take so much longer.

        Raises:
            ControlError: The agent that holds the line refused.
        """
        if rtt_ms != self._rtt_ms:
            self._line("delay", rtt_ns=rtt_ms * NS_PER_MS)
            self._rtt_ms = rtt_ms

    def settle(self) -> None:
        """Wait until what the cell before has sent is there: until nothing passes for a whole round trip.

        Raises:
            ControlError: The agent that holds the line refused.
        """
        if not self._rtt_ms:
            return
        deadline = time.monotonic() + SETTLE_S
        self._line("delayed")
        while time.monotonic() < deadline:
            time.sleep(self._rtt_ms / 1000)
            if not self._line("delayed")["carried"]:
                return

    def begin(self, source: Pod, target: Target) -> None:
        """Right before a cell's load: measure, and let the line count from here on."""
        self._trips_ns = self._trips(source.node, _far(target), TRIPS) if self._rtt_ms else []
        if self._rtt_ms:
            self._line("delayed")

    def end(self, source: Pod, target: Target) -> dict[str, Any]:
        """Right after it: what the line carried, and round trips once more."""
        if not self._rtt_ms:
            return delay.collect(delay.NO_LINE, [])
        line = self._line("delayed")
        return delay.collect(line, self._trips_ns + self._trips(source.node, _far(target), TRIPS))

    def fit(self, rtts_ms: Iterable[int], ways: Iterable[tuple[Pod, Target]]) -> list[dict[str, Any]]:
        """Round trips at each delay and without any, on each way: what the line adds by itself."""
        ends = dict.fromkeys((source.node, _far(target)) for source, target in ways)
        found = []
        for rtt_ms in sorted({0, *rtts_ms}):
            self.bring(rtt_ms)
            kind = self._line("delayed")["kind"] if rtt_ms else delay.NO_LINE["kind"]
            found += [
                {
                    "from": source,
                    "to": far,
                    "kind": kind,
                    "rtt_ms": rtt_ms,
                    "trips_ns": self._trips(source, far, FITTED_TRIPS),
                }
                for source, far in ends
            ]
        return found

    def _line(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Ask the agent that wired the underlay, the first node's."""
        return self._bed.agent(self._bed.topology.nodes[0].name).call(op, **arguments).document

    def _trips(self, source: str, far: str, count: int) -> list[int]:
        reply = self._bed.agent(source).call("round-trips", to=far, count=count)
        return list(reply.document["trips_ns"])


def _far(target: Target) -> str:
    """Who ends the way over the underlay: the pod's node, or the host itself."""
    if isinstance(target, Service):
        raise TypeError(f"service {target.name} is in no one place, so there is no distance to it")
    return target.node if isinstance(target, Pod) else target.name
