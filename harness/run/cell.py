"""Measure one cell: switch, load, and the evidence around both.

The order is what makes the evidence add up. Tunnels of the cell before go first, then rules and
switches change; the collector then empties conntrack and reads the counters for the first time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from harness.control import Channel, Reply
from harness.evidence.collector import Collector, settled
from harness.evidence.sources import delay
from harness.evidence.sources.cpu import Meter
from harness.plan import scenarios
from harness.plan.model import Cell, Configuration, Load, State
from harness.plan.scenarios import Stage
from harness.results.schema import Instant
from harness.results.write import now
from harness.run.delay import Distance
from harness.run.processes import Processes
from harness.run.proofs import Proofs
from harness.suite.model import Suite
from harness.testbed.testbed import Testbed
from harness.topology.model import APP_PORT, Host, Pod, Service

PROBES = frozenset({"probe", "rtt", "paced"})
"""Operations of the probe process; Locust's answers all others."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one measurement of a cell brought home."""

    started: Instant
    ended: Instant
    timing: dict[str, float]
    """Seconds: `switch_s`, `proofs_s`, one per stage, `evidence_s`."""
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
    beside: Ask | None = None
    """What the probe process does while Locust's window is open."""


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

    def __init__(self, bed: Testbed, suite: Suite, seed: int = 0) -> None:
        """Take the testbed, what to measure, and the plan's seed."""
        self.bed = bed
        self.suite = suite
        self.seed = seed
        self.proofs = Proofs(bed, self._prove)
        self.distance = Distance(bed)
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
        with clock.time("switch"):
            self._switch(cell)
        with clock.time("proofs"):
            proved = self.proved(cell)
        collector = Collector(self.bed.agents(), self.bed.proxies(), meter, proved)
        with clock.time("switch"):
            self.distance.bring(cell.configuration.rtt_ms)
            collector.start()
            self.distance.begin(source, target)
        bench_sockets = [str(path) for path in self._bench_paths().values()]
        asked = asks(cell, self.suite.load, source, target, bench_sockets=bench_sockets, seed=self.seed)
        for ask in asked:
            if ask.op == "probe":
                collector.listen()
            with collector.metering(ask.stage), clock.time(ask.stage):
                replies = self._put(ask, source.name, through=cell.configuration.dataplane != "none")
            for each, reply in replies:
                payloads[each.stage] = reply.payload
                with clock.time("evidence"):
                    collector.stage(each.stage, each.arguments, reply.document)
        with clock.time("evidence"):
            evidence = collector.finish() | {delay.NAME: self.distance.end(source, target)}
        return Measured(
            started=started, ended=now(), timing=clock.spent, payloads=payloads, evidence=evidence
        )

    def proved(self, cell: Cell) -> dict[str, dict[str, Any]]:
        """What is proved of the cell's round, source -> document; proved now where it is the round's first.

        Raises:
            ControlError: A member refused or is gone.
        """
        if self.proofs.due(cell):
            # a load that has slept for milliseconds wakes later than one whose answer is there at once, and
            # rules that match nothing lie between the stamp and the load on the way back alone
            self.distance.bring(0)
            self._capture(replace(cell.configuration, filler_rules=0))
            # a port that an older entry of the table holds would become another one on its way
            self.bed.ask_agents("conntrack-flush")
        found, fresh = self.proofs.of(cell)
        if fresh:
            self._leave_nothing()
            self._capture(cell.configuration)
        return found

    def put(self, ask: Ask, client: str) -> Reply:
        """Ask the load process of a client pod for one stage.

        Raises:
            ControlError: It refused or is gone.
        """
        process = self.bed.probe(client) if ask.op in PROBES else self.bed.locust(client)
        return process.call(ask.op, timeout_s=None, **ask.arguments)

    def _prove(self, what: str, arguments: dict[str, Any], client: str) -> Reply:
        return self.put(Ask(stage=what, op="probe", arguments=arguments), client)

    def _put(self, ask: Ask, client: str, *, through: bool) -> list[tuple[Ask, Reply]]:
        if ask.beside is None:
            return [(ask, self.put(ask, client))]
        return self._put_together(ask, ask.beside, client, through=through)

    def _put_together(self, ask: Ask, beside: Ask, client: str, *, through: bool) -> list[tuple[Ask, Reply]]:
        """Locust gets ready; then its window and the probe process's stage begin."""
        locust = self.bed.locust(client)
        before = self._memory() if through else {}
        locust.call("hold", timeout_s=None, what=ask.op, **ask.arguments)
        held = self._memory() if through else {}
        locust.send("window")
        try:
            quiet = self.put(beside, client)
        finally:  # or the next question would get this one's answer
            reply = locust.receive(timeout_s=None)
        weight = {node: {"before": before[node], "held": held[node]} for node in before}
        told = Reply(document={**reply.document, "memory": weight}, payload=reply.payload)
        return [(ask, told), (beside, quiet)]

    def _memory(self) -> dict[str, int]:
        """Node -> resident bytes of its proxy, of those that say so."""
        replies = self.bed.ask_proxies("stats")
        found = {node: reply.document.get("rss_bytes") for node, reply in replies.items()}
        return {node: int(size) for node, size in found.items() if size}

    def _switch(self, cell: Cell) -> None:
        """Leave nothing of the cell before and put this one's factors in force."""
        configuration = cell.configuration
        self._drop_tunnels()
        self.distance.settle()
        self._capture(configuration)
        self.bed.apply_policies(configuration.policies)
        self.bed.ask_proxies(
            "configure",
            reuse=configuration.reuse.value,
            same_node=configuration.same_node.value,
            streams_per_tunnel=configuration.streams_per_tunnel,
            window_kib=configuration.window_kib,
        )

    def _capture(self, configuration: Configuration) -> None:
        level = (configuration.interception, configuration.filler_rules)
        if level != (self.bed.interception, self.bed.filler_rules):
            self.bed.capture(*level)

    def _leave_nothing(self) -> None:
        """Wait until the proxies have seen the end of every connection, then drop their tunnels."""
        settled(self.bed.proxies())
        self._drop_tunnels()

    def _drop_tunnels(self) -> None:
        for channel in self._bench():
            channel.send("drop-tunnels")
        for channel in self._bench():
            channel.receive()

    def _bench_paths(self) -> dict[str, Any]:
        """The proxies' bench-only sockets, by node; none where no data plane runs."""
        nodes = self.bed.proxies()
        return {node: self.bed.layout.bench(node) for node in nodes}

    def _bench(self) -> list[Channel]:
        for node, path in self._bench_paths().items():
            if node not in self._bench_channels:
                self._bench_channels[node] = Channel(path)
        return list(self._bench_channels.values())

    def fit_delay(self, cells: Iterable[Cell]) -> list[dict[str, Any]]:
        """Measure the delay line by itself at every distance that these ask for; nothing where none do."""
        far = [cell for cell in cells if cell.configuration.rtt_ms]
        ways = [self._ends(cell) for cell in far]
        return self.distance.fit({cell.configuration.rtt_ms for cell in far}, ways) if far else []

    def _ends(self, cell: Cell) -> tuple[Pod, Pod | Host | Service]:
        ends = self.suite.paths[cell.configuration.path]
        source = self.bed.topology.member(ends.source)
        if not isinstance(source, Pod):
            raise TypeError(f"{ends.source} is not a pod, so no load process runs there")
        return source, self.bed.topology.target(ends.destination)


def asks(
    cell: Cell,
    load: Load,
    source: Pod,
    target: Pod | Host | Service,
    *,
    bench_sockets: list[str],
    seed: int = 0,
) -> Iterator[Ask]:
    """What a cell asks of the load processes, in order; a stage of no length is left out.

    What a stage draws by chance follows from the plan's seed, the cell and the stage, and is asked with it.
    """
    family = cell.configuration.ip_family
    common = {"cell": cell.name, "source": str(source.address_of(family))}
    backend: dict[str, Any] = {
        "address": str(target.address_of(family)),
        "port": APP_PORT,
        "pod": target.name,
        "node": target.node if isinstance(target, Pod) else "",
    }
    if isinstance(target, Service):
        backend["endpoints"] = {pod.name: pod.node for pod in target.endpoints}
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
    for stage in scenarios.stages(load):
        yield _ask(stage, request, load.workers, f"{seed}/{cell.name}")


def _ask(stage: Stage, request: Mapping[str, Any], workers: int, seed: str) -> Ask:
    arguments = {**request, "target": {**request["target"], "port": stage.port}, **stage.arguments}
    if not stage.sized:
        del arguments["response_bytes"]
    if stage.seeded:
        arguments["seed"] = f"{seed}/{stage.name}"
    if workers > 1 and stage.op not in PROBES:
        arguments["workers"] = workers
    beside = _ask(stage.beside, request, workers, seed) if stage.beside else None
    return Ask(stage=stage.name, op=stage.op, arguments=arguments, beside=beside)
