"""Measure one bout: its configurations on lanes, proved, loaded in turns, and the evidence around both.

The order of the steps is what makes the evidence add up. Lanes are placed and switched first; what is proved
of them opens tunnels, which go before the collector empties conntrack and takes its first readings.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness.control import Channel, Reply
from harness.evidence.collector import Collector, settled
from harness.evidence.sources import delay, starts
from harness.evidence.sources.cpu import Meter
from harness.load.split import split
from harness.plan.model import Bout, Cell, Configuration
from harness.results.schema import Instant
from harness.results.write import now
from harness.run.asks import Ask, Way, asks
from harness.run.delay import Distance
from harness.run.processes import Processes
from harness.run.proofs import Documents, Proofs
from harness.suite.model import Suite
from harness.testbed.lane import Lane
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed

PROBES = frozenset({"probe", "later", "rtt", "paced"})
"""Operations of the probe process; Locust's answers all others."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a bout brought home of one cell."""

    started: Instant
    ended: Instant
    timing: Mapping[str, float]
    """Seconds, of the whole bout: one per step, one per stage."""
    payloads: dict[str, bytes]
    """Stage -> rows of samples."""
    evidence: dict[str, dict[str, Any]]
    """Source -> document."""


@dataclass(slots=True)
class _Clock:
    """Seconds per step and stage of a bout."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add the block's time to `<step>_s`."""
        begin = time.monotonic()
        yield
        self.spent[f"{step}_s"] = self.spent.get(f"{step}_s", 0.0) + time.monotonic() - begin


class Bench:
    """A testbed as the bouts use it: what its lanes carry, and the channels that switch them."""

    def __init__(self, bed: Testbed, suite: Suite, seed: int = 0) -> None:
        """Take the testbed, what to measure, and the plan's seed."""
        self.bed = bed
        self.suite = suite
        self.seed = seed
        self.proofs = Proofs(bed, self.put)
        self.distance = Distance(bed)
        self._bench_channels: dict[int, list[Channel]] = {}
        self._processes = Processes(bed)
        self._placed: dict[int, tuple[int, int]] = {}
        """Lane -> the round for which its proxies were started, and when (CLOCK_BOOTTIME, ns)."""

    def close(self) -> None:
        """Close the channels of its own."""
        for lane in list(self._bench_channels):
            self._forget(lane)

    def measure(self, bout: Bout) -> dict[Cell, Measured]:
        """Measure a bout, once.

        Raises:
            ControlError: A member refused or is gone; nothing of this bout can be kept.
            RunFailed: A lane did not come to its placement.
        """
        started, clock = now(), _Clock()
        ways = [Way.of(self.bed, cell, self.suite.paths[cell.configuration.path]) for cell in bout.cells]
        with clock.time("place"):
            self._place(bout)
        with clock.time("prove"):
            proved = self._prove(ways)
        with clock.time("begin"):
            collector = self._begin(ways, proved)
        with clock.time("load"):
            payloads = self._load(ways, collector, clock)
        with clock.time("end"):
            evidence = self._end(ways[0], collector)
        ended = now()
        return {
            cell: Measured(
                started=started,
                ended=ended,
                timing=clock.spent,
                payloads=payloads[cell.lane],
                evidence=evidence[cell.lane],
            )
            for cell in bout.cells
        }

    # The steps, in their order

    def _place(self, bout: Bout) -> None:
        """Put every lane's configuration in force; proxies are started anew once a round.

        What an earlier bout left must not be met: tunnels go, and what is still on its way arrives.
        """
        self._drop_tunnels(cell.lane for cell in bout.cells)
        self.distance.settle()
        self.distance.bring(0)
        anew: dict[int, Placement] = {}
        for cell in bout.cells:
            lane, wanted = self.bed.lane(cell.lane), placement(cell.configuration)
            if (
                self._placed.get(cell.lane, (0, 0))[0] != bout.round
                or lane.placement.dataplane != wanted.dataplane
            ):
                anew[cell.lane] = wanted
            elif lane.placement != wanted:
                lane.capture(wanted.interception, wanted.filler_rules)
        for number in anew:
            self._forget(number)
            self._placed[number] = bout.round, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if anew:
            self.bed.place(anew)
        for cell in bout.cells:
            switch(self.bed.lane(cell.lane), cell.configuration)

    def _prove(self, ways: Sequence[Way]) -> dict[int, Documents]:
        """Prove of every lane what counters cannot, where its configuration was not proved this round."""
        proved = {way.lane.number: self.proofs.of(way) for way in ways}
        for way in ways:
            settled(way.lane.proxies())
        self._drop_tunnels(way.lane.number for way in ways)
        return proved

    def _begin(self, ways: Sequence[Way], proved: Mapping[int, Documents]) -> Collector:
        """Empty the tables and take the first readings."""
        first = ways[0]
        self.distance.bring(first.cell.configuration.rtt_ms)
        collector = Collector(
            self.bed.agents(),
            {way.lane.number: way.lane.proxies() for way in ways},
            {
                way.lane.number: Meter(
                    self._processes.of(way.source, way.target, way.cell.configuration, alone=len(ways) == 1)
                )
                for way in ways
            },
            proved,
        )
        collector.start()
        self.distance.begin(first.source, first.target)
        return collector

    def _load(self, ways: Sequence[Way], collector: Collector, clock: _Clock) -> dict[int, dict[str, bytes]]:
        """Every stage of load, in turns over the lanes: lane -> stage -> rows."""
        payloads: dict[int, dict[str, bytes]] = {way.lane.number: {} for way in ways}
        seed = f"{self.seed}/{ways[0].cell.round}/{ways[0].cell.bout}"
        for ask in asks(ways, self.suite.load, seed=seed):
            if ask.op == "probe":
                collector.listen()
            with collector.metering(ask.stage), clock.time(ask.stage):
                replies = self._put(ask, ways)
            for asked, reply in replies:
                for lane, own in split(reply).items():
                    payloads[lane][asked.stage] = own.payload
                    collector.stage(lane, asked.stage, asked.of(lane), own.document)
                collector.staged(asked.stage)
        return payloads

    def _end(self, first: Way, collector: Collector) -> dict[int, Documents]:
        """Wait until the proxies are done, and read the rest: lane -> source -> document."""
        evidence = collector.finish()
        line = self.distance.end(first.source, first.target)
        return {
            lane: {
                **documents,
                delay.NAME: line,
                starts.NAME: starts.collect(self._placed[lane][1], self._processes.starts(lane)),
            }
            for lane, documents in evidence.items()
        }

    # What they are made of

    def put(self, ask: Ask) -> Reply:
        """Ask the load process of one stage's kind.

        Raises:
            ControlError: It refused or is gone.
        """
        process = self.bed.probe() if ask.op in PROBES else self.bed.locust()
        return process.call(ask.op, timeout_s=None, **ask.arguments)

    def _put(self, ask: Ask, ways: Sequence[Way]) -> list[tuple[Ask, Reply]]:
        if ask.beside is None:
            return [(ask, self.put(ask))]
        return self._put_together(ask, ask.beside, ways)

    def _put_together(self, ask: Ask, beside: Ask, ways: Sequence[Way]) -> list[tuple[Ask, Reply]]:
        """Locust gets ready; then its window and the probe process's stage begin."""
        locust = self.bed.locust()
        before = _memory(ways)
        locust.call("hold", timeout_s=None, what=ask.op, **ask.arguments)
        held = _memory(ways)
        locust.send("window")
        try:
            quiet = self.put(beside)
        finally:  # or the next question would get this one's answer
            reply = locust.receive(timeout_s=None)
        for lane, document in reply.document["lanes"].items():
            earlier = before[int(lane)]
            document["memory"] = {
                node: {"before": earlier[node], "held": size} for node, size in held[int(lane)].items()
            }
        return [(ask, reply), (beside, quiet)]

    def _drop_tunnels(self, lanes: Iterable[int]) -> None:
        channels = [channel for lane in lanes for channel in self._bench(lane)]
        for channel in channels:
            channel.send("drop-tunnels")
        for channel in channels:
            channel.receive()

    def _bench(self, number: int) -> list[Channel]:
        """The channels to the bench-only sockets of a lane's proxies."""
        if number not in self._bench_channels:
            self._bench_channels[number] = [Channel(path) for path in self.bed.lane(number).bench().values()]
        return self._bench_channels[number]

    def _forget(self, number: int) -> None:
        """Close the channels to a lane's proxies, which end."""
        for channel in self._bench_channels.pop(number, ()):
            channel.close()

    def fit_delay(self, bouts: tuple[Bout, ...]) -> list[dict[str, Any]]:
        """Measure the delay line by itself at every distance that these ask for; nothing where none do."""
        far = [bout.cells[0] for bout in bouts if bout.cells[0].configuration.rtt_ms]
        ways = [Way.of(self.bed, cell, self.suite.paths[cell.configuration.path]) for cell in far]
        ends = [(way.source, way.target) for way in ways]
        return self.distance.fit({cell.configuration.rtt_ms for cell in far}, ends) if far else []


def placement(configuration: Configuration) -> Placement:
    """What a lane has to carry for a configuration, as far as processes and rules make it."""
    return Placement(
        dataplane=configuration.dataplane,
        interception=configuration.interception,
        filler_rules=configuration.filler_rules,
    )


def switch(lane: Lane, configuration: Configuration) -> None:
    """Put the factors in force that a lane's proxies know of themselves."""
    lane.apply_policies(configuration.policies)
    lane.ask_proxies(
        "configure",
        reuse=configuration.reuse.value,
        same_node=configuration.same_node.value,
        streams_per_tunnel=configuration.streams_per_tunnel,
        window_kib=configuration.window_kib,
    )


def _memory(ways: Sequence[Way]) -> dict[int, dict[str, int]]:
    """Lane -> node -> resident bytes of its proxy, of those that say so."""
    memory: dict[int, dict[str, int]] = {}
    for way in ways:
        replies = way.lane.ask_proxies("stats")
        sizes = {node: reply.document.get("rss_bytes") for node, reply in replies.items()}
        memory[way.lane.number] = {node: int(size) for node, size in sizes.items() if size}
    return memory
