"""Measure one cell: switch, load, and the evidence around both.

The order is what makes the evidence add up. Tunnels of the cell before go first, then rules and
switches change; the collector then empties conntrack and reads the counters for the first time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.control import Channel, Reply
from harness.evidence.collector import Collector
from harness.evidence.sources.cpu import Meter
from harness.plan.model import RTT_BYTES, Cell, Load, State
from harness.results.schema import Instant
from harness.results.write import now
from harness.run.processes import Processes
from harness.suite.model import Suite
from harness.testbed.testbed import Testbed
from harness.topology.model import APP_PORT, ECHO_PORT, SOURCE_PORT, Host, Pod

PROBES = frozenset({"probe", "rtt"})
"""Operations of the probe process; Locust's answers all others."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One stage of a cell's load: which process is asked what."""

    stage: str
    op: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class _Clock:
    """Seconds per step of a cell."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add the block's time to `<step>_s`."""
        begin = time.monotonic()
        yield
        self.spent[f"{step}_s"] = self.spent.get(f"{step}_s", 0.0) + time.monotonic() - begin


class Bench:
    """A testbed as the cells use it: what it is switched to, and the channels that switch it."""

    def __init__(self, bed: Testbed, suite: Suite) -> None:
        self.bed = bed
        self.suite = suite
        self._bench_channels: dict[str, Channel] = {}
        self._processes = Processes(bed)

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
        clock = _Clock()
        started = now()
        payloads: dict[str, bytes] = {}
        source, target = self._ends(cell)
        meter = Meter(self._processes.of(source, target, cell.configuration))
        collector = Collector(self.bed.agents(), self.bed.proxies(), meter)
        with clock.time("switch"):
            self._switch(cell)
            collector.start()
        bench_sockets = [str(path) for path in self._bench_paths().values()]
        for ask in asks(cell, self.suite.load, source, target, bench_sockets=bench_sockets):
            with collector.metering(ask.stage), clock.time(ask.stage):
                reply = self.put(ask, source.name)
            payloads[ask.stage] = reply.payload
            with clock.time("evidence"):
                collector.stage(ask.stage, ask.arguments, reply.document)
        with clock.time("evidence"):
            evidence = collector.finish()
        return Measured(
            started=started, ended=now(), timing=clock.spent, payloads=payloads, evidence=evidence
        )

    def put(self, ask: Ask, client: str) -> Reply:
        """Ask the load process of a client pod for one stage.

        Raises:
            ControlError: It refused or is gone.
        """
        process = self.bed.probe(client) if ask.op in PROBES else self.bed.locust(client)
        return process.call(ask.op, timeout_s=None, **ask.arguments)

    def _switch(self, cell: Cell) -> None:
        """Leave nothing of the cell before and put this one's factors in force."""
        configuration = cell.configuration
        for channel in self._bench():
            channel.send("drop-tunnels")
        for channel in self._bench():
            channel.receive()
        level = (configuration.interception, configuration.filler_rules)
        if level != (self.bed.interception, self.bed.filler_rules):
            self.bed.capture(*level)
        self.bed.apply_policies(configuration.policies)
        self.bed.ask_proxies(
            "configure",
            reuse=configuration.reuse.value,
            same_node=configuration.same_node.value,
            streams_per_tunnel=configuration.streams_per_tunnel,
            window_kib=configuration.window_kib,
        )

    def _bench_paths(self) -> dict[str, Any]:
        """The proxies' bench-only sockets, by node; none where no data plane runs."""
        nodes = self.bed.proxies()
        return {node: self.bed.layout.bench(node) for node in nodes}

    def _bench(self) -> list[Channel]:
        for node, path in self._bench_paths().items():
            if node not in self._bench_channels:
                self._bench_channels[node] = Channel(path)
        return list(self._bench_channels.values())

    def _ends(self, cell: Cell) -> tuple[Pod, Pod | Host]:
        ends = self.suite.paths[cell.configuration.path]
        source = self.bed.topology.member(ends.source)
        if not isinstance(source, Pod):
            raise TypeError(f"{ends.source} is not a pod, so no load process runs there")
        return source, self.bed.topology.member(ends.destination)


def asks(
    cell: Cell, load: Load, source: Pod, target: Pod | Host, *, bench_sockets: list[str]
) -> Iterator[Ask]:
    """What a cell asks of the load processes, in order; a stage of no length is left out."""
    family = cell.configuration.ip_family
    common = {"cell": cell.name, "source": str(source.address_of(family))}
    backend = {
        "address": str(target.address_of(family)),
        "port": APP_PORT,
        "pod": target.name,
        "node": target.node if isinstance(target, Pod) else "",
    }
    request = {**common, "target": backend, "response_bytes": load.response_bytes}
    first = [state for state in cell.configuration.states if state is not State.STEADY]
    yield Ask(
        stage="probe",
        op="probe",
        arguments={
            **request,
            "states": [
                {
                    "state": state.value,
                    "count": load.probes,
                    "op": "drop-tunnels" if state is State.COLD else "nothing",
                }
                for state in first
            ],
            "later_requests": load.later_requests,
            "gap_ns": round(load.gap_ms * 1e6),
            "later_interval_ns": round(load.later_interval_ms * 1e6),
            "bench_sockets": bench_sockets,
        },
    )
    if load.rate_hz and load.rate_s:
        rate = {"connections": load.rate_connections, "seconds": load.rate_s, "rate_hz": load.rate_hz}
        yield Ask(stage="rate", op="requests", arguments={**request, **rate})
    if load.requests_s:
        closed = {"connections": load.requests_connections, "seconds": load.requests_s, "rate_hz": 0}
        yield Ask(stage="requests", op="requests", arguments={**request, **closed})
    source_port = {**common, "target": {**backend, "port": SOURCE_PORT}}
    if load.transfer_s:
        bulk = {"streams": load.transfer_streams, "seconds": load.transfer_s}
        yield Ask(stage="transfer", op="transfer", arguments={**source_port, **bulk})
    if load.rtt_s:
        echo = {"target": {**backend, "port": ECHO_PORT}, "message_bytes": RTT_BYTES, "seconds": load.rtt_s}
        yield Ask(stage="rtt", op="rtt", arguments={**common, **echo})
    if load.alone_s:
        one = {"connections": 1, "seconds": load.alone_s, "rate_hz": 0}
        yield Ask(stage="requests-alone", op="requests", arguments={**request, **one})
        single = {"streams": 1, "seconds": load.alone_s}
        yield Ask(stage="transfer-alone", op="transfer", arguments={**source_port, **single})
    if load.connects_s:
        new = {"connections": load.connects_at_once, "seconds": load.connects_s, "rate_hz": 0}
        yield Ask(stage="connects", op="connects", arguments={**request, **new})
