"""Measure one cell: switch, load, and the evidence around both.

The order is what makes the evidence add up. Tunnels of the cell before go first, then rules and
switches change, then conntrack is emptied, and only then are counters read for the first time. After
the load, counters are read again once every connection that a proxy accepted has been accounted for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.control import Channel
from harness.evidence.sources import (
    answers,
    conntrack,
    generator,
    host,
    rules,
    sockets,
    tunnels,
    wire,
)
from harness.load import client
from harness.plan.model import Cell, Load, State
from harness.results.schema import Instant
from harness.results.write import now
from harness.suite.model import Suite
from harness.testbed.testbed import Testbed
from harness.topology.model import Host, Pod

SETTLE_S = 1.0
"""How long the proxies may take to close the books on connections whose apps are gone; they take
milliseconds, and what is still open then is for the checks to judge."""
SETTLE_STEP_S = 0.005


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one measurement of a cell brought home."""

    started: Instant
    ended: Instant
    timing: dict[str, float]
    """Seconds: `switch_s`, one per stage, `evidence_s`."""
    payloads: dict[str, bytes]
    """Stage -> rows of samples."""
    evidence: dict[str, dict[str, Any]]
    """Source -> document."""


@dataclass(slots=True)
class _Stages:
    """Stages as they are done: what was asked, what was answered, how long it took."""

    timing: dict[str, float] = field(default_factory=dict)
    asked: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Add the block's time to `<name>_s`."""
        begin = time.monotonic()
        yield
        self.timing[f"{name}_s"] = self.timing.get(f"{name}_s", 0.0) + time.monotonic() - begin


class Bench:
    """A testbed as the cells use it: what it is switched to, and the channels that switch it."""

    def __init__(self, bed: Testbed, suite: Suite) -> None:
        self.bed = bed
        self.suite = suite
        self._switched: dict[str, object] = {}
        self._bench_channels: dict[str, Channel] = {}

    def close(self) -> None:
        """Close the channels of its own."""
        for channel in self._bench_channels.values():
            channel.close()
        self._bench_channels.clear()

    def measure(self, cell: Cell) -> Measured:
        """Measure one cell, once.

        Raises:
            ControlError: A member refused or is gone; nothing of this cell can be kept.
        """
        stages = _Stages()
        started = now()
        with stages.clock("switch"):
            machine = host.sample()
            self._switch(cell)
            before = self._namespaces("counters")
            proxies = self._stats()
        source, target = self._ends(cell)
        with stages.clock("probe"):
            self._probe(cell, source, target, stages)
        with stages.clock("evidence"):
            probed = self._settled()
        for stage, arguments in _locust_stages(self.suite.load):
            with stages.clock(stage):
                self._locust(stage, arguments, cell, source, target, stages)
        with stages.clock("evidence"):
            settled = self._settled()
            after = self._namespaces("counters")
            dump = self._namespaces("conntrack-dump")
            locust_stages = {name: pair for name, pair in stages.asked.items() if name != "probe"}
            evidence = {
                answers.NAME: answers.collect(stages.asked),
                conntrack.NAME: conntrack.collect(before, dump),
                generator.NAME: generator.collect(locust_stages),
                host.NAME: host.collect(machine, host.sample()),
                rules.NAME: rules.collect(before, after),
                sockets.NAME: sockets.collect(before, after),
                tunnels.NAME: tunnels.collect(proxies, probed, settled),
                wire.NAME: wire.collect(before, after),
            }
        return Measured(
            started=started,
            ended=now(),
            timing=stages.timing,
            payloads=stages.payloads,
            evidence=evidence,
        )

    # Switching

    def _switch(self, cell: Cell) -> None:
        """Leave nothing of the cell before and put this one's factors in force."""
        configuration = cell.configuration
        for channel in self._bench():
            channel.send("drop-tunnels")
        for channel in self._bench():
            channel.receive()
        wanted = {
            "interception": configuration.interception,
            "filler_rules": configuration.filler_rules,
        }
        if self._switched != wanted:
            self._switched = {}
            self.bed.capture(configuration.interception, configuration.filler_rules)
            self._switched = dict(wanted)
        self.bed.ask_proxies(
            "configure", reuse=configuration.reuse.value, same_node=configuration.same_node.value
        )
        self.bed.ask_agents("conntrack-flush")

    def _bench(self) -> list[Channel]:
        """Channels to the proxies' bench-only sockets; none where no data plane runs."""
        if not self._bench_channels and self.bed.carries:
            for node in self.bed.topology.nodes:
                self._bench_channels[node.name] = Channel(self.bed.layout.bench(node.name))
        return list(self._bench_channels.values())

    def _ends(self, cell: Cell) -> tuple[Pod, Pod | Host]:
        ends = self.suite.paths[cell.configuration.path]
        source = self.bed.topology.member(ends.source)
        if not isinstance(source, Pod):
            raise TypeError(f"{ends.source} is not a pod, so no load process runs there")
        return source, self.bed.topology.member(ends.destination)

    # Load

    def _probe(self, cell: Cell, source: Pod, target: Pod | Host, stages: _Stages) -> None:
        load = self.suite.load
        arguments = {
            **_common(cell, source, target),
            "states": [
                {
                    "state": state.value,
                    "count": load.probes,
                    "op": "drop-tunnels" if state is State.COLD else "nothing",
                }
                for state in cell.configuration.states
                if state is not State.STEADY
            ],
            "later_requests": load.later_requests,
            "gap_ns": round(load.gap_ms * 1e6),
            "later_interval_ns": round(load.later_interval_ms * 1e6),
            "response_bytes": load.response_bytes,
            "bench_sockets": [str(self.bed.layout.bench(node.name)) for node in self.bed.topology.nodes]
            if self.bed.carries
            else [],
        }
        reply = self.bed.probe(source.name).call("probe", timeout_s=None, **arguments)
        stages.asked["probe"] = (arguments, reply.document)
        stages.payloads["probe"] = reply.payload

    def _locust(
        self,
        stage: str,
        arguments: Mapping[str, Any],
        cell: Cell,
        source: Pod,
        target: Pod | Host,
        stages: _Stages,
    ) -> None:
        asked = {**_common(cell, source, target), **arguments}
        op = "transfer" if stage == "transfer" else "requests"
        reply = self.bed.locust(source.name).call(op, timeout_s=None, **asked)
        stages.asked[stage] = (asked, reply.document)
        stages.payloads[stage] = reply.payload

    # Evidence

    def _namespaces(self, op: str) -> dict[str, Any]:
        """All agents' answers, their namespaces joined."""
        joined: dict[str, Any] = {}
        for reply in self.bed.ask_agents(op).values():
            joined.update(reply.document["namespaces"])
        return joined

    def _stats(self) -> dict[str, Any]:
        return {node: reply.document for node, reply in self.bed.ask_proxies("stats").items()}

    def _settled(self) -> dict[str, Any]:
        """The proxies' counters once every accepted connection is accounted for, or after `SETTLE_S`."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            stats = self._stats()
            if all(_accounted(each) for each in stats.values()) or time.monotonic() >= deadline:
                return stats
            time.sleep(SETTLE_STEP_S)


def _accounted(stats: Mapping[str, Any]) -> bool:
    outcomes = ("hbone", "passthrough", "denied", "failed")
    completed = sum(int(stats[f"completed_outbound_{outcome}"]) for outcome in outcomes)
    return completed >= int(stats["accepted_outbound"])


def _common(cell: Cell, source: Pod, target: Pod | Host) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "source": str(source.address),
        "target": client.target(target),
    }


def _locust_stages(load: Load) -> Iterator[tuple[str, dict[str, Any]]]:
    """The stages that Locust runs, in order, with what is asked of each."""
    if load.rate_hz:
        yield (
            "rate",
            {
                "connections": load.rate_connections,
                "seconds": load.rate_s,
                "rate_hz": load.rate_hz,
                "response_bytes": load.response_bytes,
            },
        )
    if load.requests_s:
        yield (
            "requests",
            {
                "connections": load.requests_connections,
                "seconds": load.requests_s,
                "rate_hz": 0,
                "response_bytes": load.response_bytes,
            },
        )
    if load.transfer_s:
        yield "transfer", {"streams": load.transfer_streams, "seconds": load.transfer_s}
