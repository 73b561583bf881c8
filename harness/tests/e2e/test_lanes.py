"""Several lanes on the same nodes: each carries its own traffic, and none meets another or its restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from harness.dataplanes.envoy.launch import binary
from harness.engines.api import Member
from harness.evidence.lanes import of_lane
from harness.plan.model import Interception
from harness.testbed.placement import Placement
from harness.testbed.testbed import PlacingFailed
from harness.tests.e2e.beds import REDIRECT, Pods, standard_bed
from harness.tests.e2e.conftest import ENGINES
from harness.tests.waiting import until
from harness.topology.model import ECHO_PORT

NOTRACK = Placement(dataplane="pyztunnel", interception=Interception.TPROXY_NOTRACK)
ENVOY = Placement(dataplane="envoy", interception=Interception.REDIRECT)
DIRECT = Placement(dataplane="none", interception=Interception.NONE)
TARGETS = ("server-local", "server-remote", "outside")

ECHOING = """
import json, os, socket, sys
address, port, enough = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connections = [socket.create_connection((address, port), 5) for _ in range(8)]
trips = 0
while not os.path.exists(enough):
    for connection in connections:
        connection.sendall(b"x" * 64)
        if len(connection.recv(64, socket.MSG_WAITALL)) != 64:
            sys.exit("a connection ended")
        trips += 1
print(json.dumps({"trips": trips}))
"""


@pytest.fixture(scope="module", params=ENGINES)
def lanes(request: pytest.FixtureRequest) -> Iterator[tuple[Pods, Pods]]:
    """Two lanes that are up, with different interception."""
    with standard_bed(request.param, REDIRECT, NOTRACK) as bed:
        yield Pods(bed, 1), Pods(bed, 2)


def counters(pods: Pods) -> dict[str, Any]:
    """What the kernel has counted of a lane, by namespace."""
    replies = pods.bed.ask_agents("counters", lanes=[pods.number]).values()
    joined = {name: of for reply in replies for name, of in reply.document["namespaces"].items()}
    return of_lane(joined, pods.number)


def packets(found: dict[str, Any], *, rules: str = "") -> int:
    """Packets that rules of that prefix have counted, in all namespaces."""
    return sum(
        rule["packets"]
        for content in found.values()
        for rule in content["rules"]
        if rule["rule"].startswith(rules) and not rule["rule"].startswith("jump-")
    )


def pids(pods: Pods) -> dict[str, int]:
    """Processes of a lane."""
    names = {member.name for member in pods.bed.members if member.lane == pods.number}
    return {name: pid for name, pid in pods.bed.engine.pids().items() if name in names}


@pytest.mark.parametrize("target", TARGETS)
def test_both_lanes_carry_traffic_on_every_path(lanes: tuple[Pods, Pods], target: str) -> None:
    before = [pods.stats("a") for pods in lanes]

    seen = [pods.get("client", target) for pods in lanes]

    assert [target, target] == [each["words"]["pod"] for each in seen]
    assert [pods.address("client") for pods in lanes] == [each["own"] for each in seen]
    assert lanes[0].address("client") != lanes[1].address("client")
    assert [1, 1] == [
        pods.grown("a", "accepted_outbound", earlier) for pods, earlier in zip(lanes, before, strict=True)
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_a_lane_s_traffic_shows_in_no_other_lane_s_counts(lanes: tuple[Pods, Pods], target: str) -> None:
    first, second = lanes
    before = (counters(first), counters(second))

    first.get("client", target)

    after = (counters(first), counters(second))
    busy, idle = (packets(late) - packets(early) for early, late in zip(before, after, strict=True))
    assert idle == 0
    assert busy > 0
    # not because nobody counted: nodes and the host outside tell the lanes apart
    shared = {name for name, content in after[0].items() if content["lane"] == 0}
    assert shared == {name for name, content in after[1].items() if content["lane"] == 0}
    where = {
        "server-local": ("node-a", "local-"),
        "server-remote": ("node-b", "wire-"),
        "outside": ("host-outside", "count-"),
    }
    namespace, rules = where[target]
    growth = [
        packets({namespace: late[namespace]}, rules=rules)
        - packets({namespace: early[namespace]}, rules=rules)
        for early, late in zip(before, after, strict=True)
    ]
    assert growth[0] > 0
    assert growth[1] == 0


def test_each_lane_s_rules_are_its_own_and_as_written(lanes: tuple[Pods, Pods]) -> None:
    rules = [
        {rule["rule"] for rule in counters(pods)[pods.lane.topology.member("client").netns]["rules"]}
        for pods in lanes
    ]

    assert "redirect-outbound" in rules[0]
    assert "redirect-outbound" not in rules[1]
    assert "tproxy-outbound" in rules[1]
    for pods in lanes:
        assert all(content["digest"] == content["expected_digest"] for content in counters(pods).values())


def test_flushing_one_lane_s_connection_tables_leaves_the_other_s(lanes: tuple[Pods, Pods]) -> None:
    first, second = lanes
    first.get("client", "outside")
    namespace = first.lane.topology.member("client").netns

    def entries() -> int:
        replies = first.bed.ask_agents("conntrack-dump", lanes=[1]).values()
        tables = [reply.document["namespaces"].get(namespace) for reply in replies]
        return sum(len(table["entries"]) for table in tables if table is not None)

    held = entries()
    second.bed.ask_agents("conntrack-flush", lanes=[2])
    kept = entries()
    first.bed.ask_agents("conntrack-flush", lanes=[1])

    assert held > 0
    assert kept == held
    assert entries() == 0


def test_switching_and_restarting_one_lane_loses_no_connection_of_the_other(lanes: tuple[Pods, Pods]) -> None:
    """Live tunnels and live connections of lane 1, while lane 2 is brought elsewhere and back."""
    first, second = lanes
    bed = first.bed
    mine, theirs = pids(first), pids(second)
    source = first.lane.topology.member("server-local")  # whose files this process and the pod share
    enough = bed.layout.app(source) / "enough"
    command = ["python3", "-c", ECHOING, first.address("server-remote"), str(ECHO_PORT), str(enough)]
    before = first.stats("a")

    with ThreadPoolExecutor(1) as pool:
        echoing = pool.submit(bed.engine.execute, source.netns, command)
        try:
            until(lambda: first.stats("a")["accepted_outbound"] - before["accepted_outbound"] == 8)
            bed.place({2: REDIRECT})
            bed.place({2: NOTRACK})
            assert not echoing.done(), "the connections ended while the other lane was placed"
        finally:
            enough.touch()
        done = echoing.result()

    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["trips"] > 0
    assert first.stats("a")["accepted_outbound"] - before["accepted_outbound"] == 8
    assert pids(first) == mine
    now = pids(second)
    assert set(now) == set(theirs)
    started_anew = {member for member, pid in theirs.items() if now[member] != pid}
    assert started_anew == {"ztunnel-2-a", "ztunnel-2-b"}
    assert second.get("client", "server-remote")["words"]["pod"] == "server-remote"
    assert bed.exited() == {}


def test_a_lane_is_brought_to_every_data_plane_and_back(lanes: tuple[Pods, Pods]) -> None:
    first, second = lanes
    bed = second.bed
    ways = [DIRECT, NOTRACK] if binary() is None else [ENVOY, DIRECT, NOTRACK]
    seen = []
    for placement in ways:
        bed.place({2: placement})
        assert second.lane.placement == placement
        assert second.lane.carries == placement.carries
        assert set(second.lane.proxies()) == ({"a", "b"} if placement.carries else set())
        seen.append(second.get("client", "server-remote")["words"]["pod"])
        journal = bed.rundir.journal.lanes[1]
        assert Placement.from_document(journal) == placement

    assert seen == ["server-remote"] * len(ways)
    assert first.get("client", "server-remote")["words"]["pod"] == "server-remote"


def test_both_lanes_can_be_placed_at_once(lanes: tuple[Pods, Pods]) -> None:
    first, second = lanes
    before = {**pids(first), **pids(second)}

    first.bed.place({1: NOTRACK, 2: REDIRECT})
    swapped = [pods.lane.placement.interception for pods in lanes]
    first.bed.place({1: REDIRECT, 2: NOTRACK})

    assert swapped == [Interception.TPROXY_NOTRACK, Interception.REDIRECT]
    after = {**pids(first), **pids(second)}
    started_anew = {name for name, pid in before.items() if after[name] != pid}
    assert started_anew == {f"ztunnel-{lane}-{node}" for lane in (1, 2) for node in "ab"}
    assert ["server-remote"] * 2 == [pods.get("client", "server-remote")["words"]["pod"] for pods in lanes]


def test_a_lane_whose_proxies_end_at_once_is_said_to_and_can_be_placed_again(
    lanes: tuple[Pods, Pods],
) -> None:
    first, second = lanes
    bed, usual = second.bed, type(second.bed).wanted_proxies

    def ending(number: int, placement: Placement) -> tuple[Member, ...]:
        made = usual(bed, number, placement)
        return tuple(replace(each, command=("sh", "-c", "echo no proxy; exit 3")) for each in made)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bed), "wanted_proxies", lambda _, *given: ending(*given))
        with pytest.raises(PlacingFailed, match=r"(?s)place lane 2: .*ztunnel-2-a ended with 3:.*no proxy"):
            bed.place({2: NOTRACK})
    carried = first.get("client", "server-remote")["words"]["pod"]
    bed.place({2: NOTRACK})

    assert carried == "server-remote"
    assert second.get("client", "server-remote")["words"]["pod"] == "server-remote"
    assert bed.exited() == {}


def test_policies_of_one_lane_are_not_the_other_s(lanes: tuple[Pods, Pods]) -> None:
    first, _ = lanes

    first.lane.apply_policies(50)

    policies = [json.loads(pods.lane.mesh.read_text())["policies"] for pods in lanes]
    assert len(policies[0]) - len(policies[1]) == 51
    first.bed.place({1: REDIRECT})
    assert first.lane.policies == 0
    assert len(json.loads(first.lane.mesh.read_text())["policies"]) == len(policies[1])
