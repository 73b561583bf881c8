"""Distance as the cells use it: who is asked, when, and that nobody is where nothing was moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.control import Reply
from harness.evidence.sources import delay
from harness.run.delay import FITTED_TRIPS, TRIPS, Distance
from harness.suite import load_suite
from harness.topology.allocator import resolve
from harness.topology.model import Pod, Topology

if TYPE_CHECKING:
    from harness.testbed.testbed import Testbed  # pytest would take it for a class of tests

TOPOLOGY = resolve(load_suite("smoke", []).topology)


@dataclass
class Agent:
    """A node's agent, whose line carries what it is told to."""

    node: str
    asked: list[tuple[str, str, dict[str, Any]]]
    carried: list[int]

    def call(self, op: str, **arguments: Any) -> Reply:
        self.asked.append((self.node, op, arguments))
        match op:
            case "round-trips":
                return Reply(document={"trips_ns": [4_100_000] * arguments["count"]})
            case _:
                count = self.carried.pop(0) if self.carried else 0
                line = {"kind": "forwarder", "rtt_ns": 1_000_000, "carried": count, "lost": 0}
                return Reply(document={**line, "late_ns": None})


@dataclass
class Bed:
    """A testbed of which only the agents matter."""

    topology: Topology = TOPOLOGY
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)

    def agent(self, node: str) -> Agent:
        return Agent(node, self.asked, self.carried)


@pytest.fixture
def bed() -> Bed:
    return Bed()


@pytest.fixture
def distance(bed: Bed) -> Distance:
    return Distance(cast("Testbed", bed))


def client() -> Pod:
    found = TOPOLOGY.member("client")
    assert isinstance(found, Pod)
    return found


REMOTE, OUTSIDE = TOPOLOGY.member("server-remote"), TOPOLOGY.member("outside")


def test_where_nothing_is_moved_nobody_is_asked(bed: Bed, distance: Distance) -> None:
    distance.bring(0)
    distance.settle()
    distance.begin(client(), REMOTE)
    found = distance.end(client(), REMOTE)

    assert [] == bed.asked
    assert delay.collect(delay.NO_LINE, []) == found


def test_the_line_is_switched_by_who_wired_the_underlay_and_only_when_it_changes(
    bed: Bed, distance: Distance
) -> None:
    for rtt_ms in (4, 4, 8, 0, 0):
        distance.bring(rtt_ms)

    assert [("a", "delay", {"rtt_ns": rtt_ms * 1_000_000}) for rtt_ms in (4, 8, 0)] == bed.asked


@pytest.mark.parametrize(("target", "far"), [(REMOTE, "b"), (OUTSIDE, "outside")])
def test_a_cell_s_distance_is_measured_on_its_own_way_before_and_after(
    bed: Bed, distance: Distance, target: Any, far: str
) -> None:
    distance.bring(4)
    distance.begin(client(), target)
    found = distance.end(client(), target)

    trips = [arguments for _, op, arguments in bed.asked if op == "round-trips"]
    assert [{"to": far, "count": TRIPS}] * 2 == trips
    assert 2 * TRIPS == len(delay.read({delay.NAME: found}).trips_ns)


def test_a_cell_begins_when_the_one_before_is_out_of_the_line(bed: Bed, distance: Distance) -> None:
    distance.bring(1)
    bed.asked.clear()
    bed.carried[:] = [300, 4, 1, 0, 9]

    distance.settle()

    assert [9] == bed.carried
    assert {"delayed"} == {op for _, op, _ in bed.asked}


def test_each_distance_is_measured_by_itself_on_every_way_and_so_is_none(distance: Distance) -> None:
    found = distance.fit({8, 4}, [(client(), REMOTE), (client(), OUTSIDE), (client(), REMOTE)])

    assert [(rtt_ms, far) for rtt_ms in (0, 4, 8) for far in ("b", "outside")] == [
        (each["rtt_ms"], each["to"]) for each in found
    ]
    assert {FITTED_TRIPS} == {len(each["trips_ns"]) for each in found}
    assert {"none"} == {each["kind"] for each in found if each["rtt_ms"] == 0}
