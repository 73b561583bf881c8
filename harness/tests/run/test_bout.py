"""A bout: its steps in their order, its lanes placed once a round, its rows dealt out to its cells."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.control import ControlError, Reply
from harness.load.records import PROBE_FIELDS, REQUEST_FIELDS
from harness.plan.model import Bout, Cell, Configuration, Interception, Path, Reuse
from harness.run import bout as module
from harness.run.asks import Way
from harness.run.bout import Bench, Measured
from harness.run.processes import Processes
from harness.suite import Suite, load_suite
from harness.testbed.placement import Placement
from harness.topology.allocator import resolve
from harness.topology.layout import Layout
from harness.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.testbed.testbed import Testbed  # pytest would take it for a class of tests

SUITE = load_suite("smoke", ["load.rate.seconds=0", "load.transfer.seconds=0", "lanes=2", "twin=true"])
TOPOLOGY = resolve(SUITE.topology, 2)
REDIRECT = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)
TWIN = replace(REDIRECT, twin=True)
TPROXY = replace(REDIRECT, interception=Interception.TPROXY, filler_rules=100)
REUSE_OFF = replace(REDIRECT, reuse=Reuse.OFF)
DIRECT = replace(REDIRECT, dataplane="none", interception=Interception.NONE)


@dataclass
class Log:
    """What everybody was asked, in order."""

    events: list[tuple[str, Any]] = field(default_factory=list)

    def note(self, event: str, about: Any = None) -> None:
        self.events.append((event, about))

    def names(self) -> list[str]:
        """The events, each run of equal ones once."""
        found = [event for event, _ in self.events]
        return [event for index, event in enumerate(found) if index == 0 or found[index - 1] != event]

    def about(self, event: str) -> list[Any]:
        return [about for name, about in self.events if name == event]


class Member:
    """A process's control channel."""

    def __init__(self, name: str, log: Log, answer: Callable[[str, dict[str, Any]], Reply]) -> None:
        self.name, self.log, self.answer = name, log, answer

    def call(self, op: str, *, timeout_s: float | None = 30.0, **arguments: Any) -> Reply:
        del timeout_s
        self.log.note(f"{self.name} {op}", arguments)
        return self.answer(op, arguments)

    def send(self, op: str, **_: Any) -> None:
        self.log.note(f"{self.name} {op}")

    def receive(self, *, timeout_s: float | None = 30.0) -> Reply:
        del timeout_s
        return Reply(document={})

    def close(self) -> None:
        self.log.note(f"{self.name} closed")


@dataclass
class Lane:
    """A lane that takes whatever it is brought to."""

    number: int
    log: Log
    placement: Placement
    topology: Topology = field(init=False)

    def __post_init__(self) -> None:
        self.topology = TOPOLOGY.lane(self.number)

    def bench(self) -> dict[str, FilePath]:
        nodes = "ab" if self.placement.carries else ""
        return {node: FilePath(f"/run/bench/{self.number}/{node}") for node in nodes}

    def proxies(self) -> dict[str, Any]:
        return {}

    def capture(self, interception: Interception, filler_rules: int = 0) -> None:
        self.log.note("capture", self.number)
        self.placement = replace(self.placement, interception=interception, filler_rules=filler_rules)

    def apply_policies(self, count: int) -> None:
        self.log.note("policies", (self.number, count))

    def ask_proxies(self, op: str, **arguments: Any) -> dict[str, Reply]:
        self.log.note(f"proxies {op}", (self.number, arguments))
        return {}


@dataclass
class Bed:
    """A testbed of two lanes."""

    log: Log
    answer: Callable[[str, dict[str, Any]], Reply]
    layout: Layout = Layout(FilePath("/run/x"))
    made: dict[int, Lane] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = Placement(dataplane="pyztunnel", interception=Interception.REDIRECT)
        self.made = {number: Lane(number, self.log, start) for number in (1, 2)}

    def lane(self, number: int) -> Lane:
        return self.made[number]

    def agents(self) -> dict[str, Any]:
        return {}

    def place(self, placements: Mapping[int, Placement]) -> None:
        self.log.note("place", dict(placements))
        for number, placement in placements.items():
            self.made[number].placement = placement

    def probe(self) -> Member:
        return Member("probe", self.log, self.answer)

    def locust(self) -> Member:
        return Member("locust", self.log, self.answer)


class Collector:
    """Notes when it is told of what."""

    log: Log

    def __init__(self, _agents: Any, proxies: Mapping[int, Any], _meters: Any, proved: Any) -> None:
        self.lanes, self.proved = list(proxies), proved
        self.told: dict[int, dict[str, Any]] = {lane: {} for lane in self.lanes}

    def start(self) -> None:
        self.log.note("collector start")

    def listen(self) -> None:
        self.log.note("collector listen")

    @contextmanager
    def metering(self, _name: str) -> Iterator[None]:
        yield

    def stage(self, lane: int, name: str, asked: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        self.log.note("collector stage", (lane, name))
        assert lane == asked["lane"]
        self.told[lane][name] = reply

    def staged(self, name: str) -> None:
        self.log.note("collector staged", name)

    def finish(self) -> dict[int, dict[str, dict[str, Any]]]:
        self.log.note("collector finish")
        return {lane: {"answers": self.told[lane], **self.proved[lane]} for lane in self.lanes}


class Distance:
    """Nothing is far."""

    def __init__(self, _bed: object) -> None: ...

    def settle(self) -> None: ...

    def bring(self, _rtt_ms: int) -> None: ...

    def begin(self, *_: object) -> None: ...

    def end(self, *_: object) -> dict[str, Any]:
        return {"kind": ""}


class Proofs:
    """Everything holds."""

    log: Log

    def __init__(self, *_: object) -> None: ...

    def of(self, way: Way) -> dict[str, dict[str, Any]]:
        self.log.note("prove", way.lane.number)
        return {"clock": {"cell": way.cell.name}}


def answered(op: str, arguments: dict[str, Any]) -> Reply:
    """Rows of all lanes in turns, one per lane; the probe's connection and the request's user is the lane."""
    fields = PROBE_FIELDS if op == "probe" else REQUEST_FIELDS
    lanes = [lane["lane"] for lane in arguments["lanes"]]
    rows = [value for lane in lanes for value in (lane, lane, *([1] * (len(fields) - 1)))]
    document = {
        "fields": ["lane", *fields],
        "turns": "rows",
        "lanes": {str(lane): {"nonces": f"{lane:04d}", "rows": 1} for lane in lanes},
    }
    return Reply(document=document, payload=array("q", rows).tobytes())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    for fake in (Collector, Proofs):
        monkeypatch.setattr(fake, "log", made, raising=False)
        monkeypatch.setattr(module, fake.__name__, fake)
    monkeypatch.setattr(module, "Distance", Distance)
    monkeypatch.setattr(module, "settled", lambda _proxies: {})
    monkeypatch.setattr(module, "Channel", lambda _path: Member("bench", made, answered))
    monkeypatch.setattr(Processes, "of", lambda *_, **_named: {})
    monkeypatch.setattr(Processes, "starts", lambda _, lane: {f"ztunnel-{lane}-a": 10**18})
    return made


@pytest.fixture
def bench(log: Log) -> Bench:
    return Bench(cast("Testbed", Bed(log, answered)), SUITE, seed=7)


def bout(round_: int, number: int, *configurations: Configuration) -> Bout:
    cells = tuple(
        Cell(index=lane, round=round_, bout=number, lane=lane, configuration=configuration)
        for lane, configuration in enumerate(configurations, start=1)
    )
    return Bout(round=round_, number=number, cells=cells)


def test_the_steps_of_a_bout_come_in_their_order(bench: Bench, log: Log) -> None:
    """What is proved opens tunnels: they go before the first readings, and after them is the load alone."""
    bench.measure(bout(1, 0, REDIRECT, TWIN))

    assert log.names() == [
        *("bench drop-tunnels", "bench closed", "place"),
        *("policies", "proxies configure", "policies", "proxies configure"),
        *("prove", "bench drop-tunnels", "collector start"),
        *("collector listen", "probe probe", "collector stage", "collector staged"),
        *("locust requests", "collector stage", "collector staged"),
        "collector finish",
    ]
    assert [(1, "probe"), (2, "probe"), (1, "requests"), (2, "requests")] == log.about("collector stage")


def test_every_cell_gets_the_rows_and_documents_of_its_lane(bench: Bench) -> None:
    measured = bench.measure(bout(1, 0, REDIRECT, TWIN))

    for cell, found in measured.items():
        assert ["probe", "requests"] == list(found.payloads)
        rows = array("q", found.payloads["probe"])
        assert (len(PROBE_FIELDS), cell.lane) == (len(rows), rows[0])
        assert f"{cell.lane:04d}" == found.evidence["answers"]["probe"]["nonces"]
        assert found.evidence["clock"] == {"cell": cell.name}
        assert found.evidence["delay"] == {"kind": ""}
        assert {f"ztunnel-{cell.lane}-a"} == set(found.evidence["starts"]["proxies"])
        assert 0 < found.evidence["starts"]["placed_ns"] <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert 1 == len({id(found.timing) for found in measured.values()})
    steps = ("place_s", "prove_s", "begin_s", "load_s", "end_s", "probe_s", "requests_s")
    assert set(steps) == set(next(iter(measured.values())).timing)


def test_proxies_start_anew_once_a_round_and_lanes_are_switched_between_its_bouts(
    bench: Bench, log: Log
) -> None:
    bench.measure(bout(1, 0, REDIRECT, TWIN))
    bench.measure(bout(1, 1, TPROXY, REUSE_OFF))
    bench.measure(bout(2, 0, REDIRECT, TWIN))

    assert [{1, 2}, {1, 2}] == [set(placed) for placed in log.about("place")]
    assert [1] == log.about("capture")
    reuse = [arguments["reuse"] for _, arguments in log.about("proxies configure")]
    assert ["on", "on", "on", "off", "on", "on"] == reuse
    assert Interception.REDIRECT is bench.bed.lane(1).placement.interception


def test_another_data_plane_starts_processes_in_the_midst_of_a_round(bench: Bench, log: Log) -> None:
    bench.measure(bout(1, 0, REDIRECT, TWIN))
    bench.measure(bout(1, 1, DIRECT, REDIRECT))

    placed = log.about("place")
    assert [[1, 2], [1]] == [sorted(each) for each in placed]
    assert "none" == placed[1][1].dataplane


def test_a_load_process_that_refuses_ends_the_bout(bench: Bench, log: Log) -> None:
    def refuse(_op: str, _arguments: dict[str, Any]) -> Reply:
        raise ControlError("not all users got ready")

    cast("Any", bench.bed).answer = refuse

    with pytest.raises(ControlError, match="got ready"):
        bench.measure(bout(1, 0, REDIRECT, TWIN))

    assert "collector finish" not in log.names()


def measured_by(bench: Bench, suite: Suite, configurations: Sequence[Configuration]) -> dict[Cell, Measured]:
    bench.suite = suite
    return bench.measure(bout(1, 0, *configurations))


def test_a_stage_that_the_suite_leaves_out_is_in_no_cell(bench: Bench) -> None:
    only_probe = load_suite("smoke", [f"load.{each}.seconds=0" for each in ("rate", "requests", "transfer")])

    measured = measured_by(bench, only_probe, [REDIRECT, TWIN])

    assert [["probe"], ["probe"]] == [list(found.payloads) for found in measured.values()]
