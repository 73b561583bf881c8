"""The underlay's delay line: what it delays, by how much, what it leaves alone, and that it goes away."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyroute2.iproute.linux import IPRoute

from harness.agent import netns
from harness.agent.delay import netem
from harness.agent.delay.trips import round_trips
from harness.agent.delay.waiting import Waiting
from harness.control import Channel, ControlError
from harness.tests.agent.conftest import MakeNamespace
from harness.tests.topology.test_allocator import SPEC
from harness.tests.waiting import until
from harness.topology.allocator import resolve
from harness.topology.document import to_json
from harness.topology.model import Host, Node, Pod, Topology

MS = 1_000_000
BULK = os.urandom(4 << 20)


@dataclass(frozen=True, slots=True)
class Bed:
    """Two agents whose nodes are wired, and nothing that runs in the pods."""

    topology: Topology
    paths: Mapping[str, str]
    agents: Mapping[str, Channel]
    processes: Mapping[str, subprocess.Popen[bytes]]

    def delay(self, rtt_ms: int) -> dict[str, Any]:
        return self.agents["a"].call("delay", rtt_ns=rtt_ms * MS).document

    def delayed(self) -> dict[str, Any]:
        return self.agents["a"].call("delayed").document

    def trip_ms(self, to: str = "b") -> float:
        """The fastest of a few round trips: on a busy machine any of them may be late."""
        trips = self.agents["a"].call("round-trips", to=to, count=20).document["trips_ns"]
        return float(min(trips)) / MS

    def reaches(self, to: str) -> bool:
        try:
            self.agents["a"].call("round-trips", to=to, count=1)
        except ControlError:
            return False
        return True

    def within(self, namespace: str, function: Callable[[], Any]) -> Any:
        return netns.inside(self.paths[namespace], function)


@contextmanager
def wired(make_namespace: MakeNamespace, rundir: Path) -> Iterator[Bed]:
    topology = resolve(SPEC)
    members: tuple[Node | Pod | Host, ...] = (*topology.nodes, *topology.pods, *topology.hosts)
    paths = {name: make_namespace() for name in ("underlay", *(member.netns for member in members))}
    document = rundir / "topology.json"
    document.write_text(to_json(topology))
    with ExitStack() as undo:
        processes, agents = {}, {}
        for node in topology.nodes:
            for folder in ("agent", "zds", "sockets"):
                (rundir / folder / node.name / "1").mkdir(parents=True)
            command = [sys.executable, "-m", "harness.agent", "--node", node.name, "--rundir", str(rundir)]
            processes[node.name] = undo.enter_context(subprocess.Popen(command))
            undo.callback(processes[node.name].terminate)
        for index, node in enumerate(topology.nodes):
            control = rundir / "agent" / node.name / "agent.sock"
            agents[node.name] = undo.enter_context(Channel(control, connect_timeout_s=10))
            agents[node.name].call("setup", namespaces=paths, topology=str(document), underlay=index == 0)
        bed = Bed(topology, paths, agents, processes)
        # a bridge learns that its new ports are up when the kernel gets round to it, a second later at most
        until(lambda: bed.reaches("b") and bed.reaches("outside"))
        yield bed


@pytest.fixture(scope="module")
def bed(make_namespace: MakeNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with wired(make_namespace, tmp_path_factory.mktemp("run")) as bed:
        yield bed


@pytest.fixture
def undelayed(bed: Bed) -> Iterator[Bed]:
    yield bed
    bed.delay(0)


def forwarder(bed: Bed) -> int:
    """Pid of the one that the first agent has started; a process has no name yet while exec(2) goes on."""
    (pid,) = until(lambda: forwarders(bed))
    return pid


def forwarders(bed: Bed) -> list[int]:
    agent = bed.processes["a"].pid
    found = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    return [int(pid) for pid in found if b"delay.forwarder" in Path(f"/proc/{pid}/cmdline").read_bytes()]


netns_test = pytest.mark.netns


@netns_test
@pytest.mark.parametrize("to", ["b", "outside"])
def test_round_trips_take_what_was_asked_for(undelayed: Bed, to: str) -> None:
    bare = undelayed.trip_ms(to)
    found = {}
    for rtt_ms in (4, 16):
        undelayed.delay(rtt_ms)
        found[rtt_ms] = undelayed.trip_ms(to)
    said = undelayed.delayed()

    assert all(rtt_ms <= measured < 1.1 * rtt_ms + bare + 0.5 for rtt_ms, measured in found.items()), found
    assert (16 * MS, 0) == (said["rtt_ns"], said["lost"])
    assert said["carried"] >= 2 * 20


@netns_test
def test_without_a_delay_nothing_of_it_is_there(undelayed: Bed) -> None:
    undelayed.delay(4)
    undelayed.delay(0)

    assert undelayed.trip_ms() < 2
    assert [] == forwarders(undelayed)
    assert {"kind": "none", "rtt_ns": 0, "carried": 0, "lost": 0, "late_ns": None} == undelayed.delayed()


@netns_test
@pytest.mark.parametrize("rtt_ms", [0, 4])
def test_bulk_arrives_as_it_was_sent(undelayed: Bed, rtt_ms: int) -> None:
    """Frames larger than the MTU, and checksums that the kernel left to a card that is not there."""
    undelayed.delay(rtt_ms)
    server = undelayed.within("node-b", lambda: socket.create_server(("172.30.0.2", 7000)))
    received = hashlib.sha256()
    with server:
        reader = threading.Thread(target=drain, args=(server, received))
        reader.start()
        client = undelayed.within(
            "node-a", lambda: socket.create_connection(("172.30.0.2", 7000), timeout=10)
        )
        with client:
            client.sendall(BULK)
        reader.join()

    assert hashlib.sha256(BULK).digest() == received.digest()
    assert 0 == undelayed.delayed()["lost"]


def drain(server: socket.socket, into: Any) -> None:
    connection, _ = server.accept()
    with connection:
        while part := connection.recv(1 << 16):
            into.update(part)


def laid_by_the_kernel() -> tuple[bool, float]:
    """Whether netem took the order, and the fastest round trip between two addresses then, ms."""
    for command in (
        "ip link add near type veth peer name far",
        "ip link set near address 02:00:00:00:00:01 up",
        "ip link set far address 02:00:00:00:00:02 up",
        "ip address add 192.0.2.2/24 dev far",
        "sysctl -qw net.ipv4.conf.far.rp_filter=0 net.ipv4.conf.far.accept_local=1",
    ):
        subprocess.run(command.split(), check=True)
    took = netem.lay(["near", "far"], 3_000)
    found = round_trips(
        link="near",
        mac="02:00:00:00:00:01",
        address="192.0.2.1",
        to_mac="02:00:00:00:00:02",
        to_address="192.0.2.2",
        count=5,
    )
    if took:
        netem.lift(["near", "far"])
    return took, min(found) / MS


@netns_test
def test_netem_delays_both_ways_or_says_that_it_is_not_there(make_namespace: MakeNamespace) -> None:
    took, trip_ms = netns.inside(make_namespace(), laid_by_the_kernel)

    assert 6 <= trip_ms < 12 if took else trip_ms < 3


def counted_by_the_kernel() -> tuple[dict[str, int], dict[str, int]]:
    """Another queueing discipline's counts, before and after five frames: every kernel has this one."""
    for command in (
        "ip link add near type veth peer name far",
        "ip link set near up",
        "ip link set far up",
        "sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
    ):
        subprocess.run(command.split(), check=True)
    with IPRoute() as kernel:
        kernel.tc("add", "bfifo", kernel.link_lookup(ifname="near")[0], limit=1 << 20)
    before = netem.counts(["near"])
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as packets:
        packets.bind(("near", 0x88B5))
        for _ in range(5):
            packets.send(b"\xff" * 6 + b"\x02" + bytes(5) + b"\x88\xb5" + bytes(46))
    return before, netem.counts(["near"])


@netns_test
def test_what_the_kernel_s_queue_carried_is_counted(make_namespace: MakeNamespace) -> None:
    before, after = netns.inside(make_namespace(), counted_by_the_kernel)

    assert 5 == after["carried"] - before["carried"]
    assert 0 == after["lost"]


@netns_test
def test_an_agent_that_did_not_wire_the_underlay_refuses(bed: Bed) -> None:
    with pytest.raises(ControlError, match="did not wire the underlay"):
        bed.agents["b"].call("delay", rtt_ns=MS)


@netns_test
def test_a_forwarder_that_ended_is_told(undelayed: Bed) -> None:
    undelayed.delay(4)
    os.kill(forwarder(undelayed), signal.SIGKILL)

    def told() -> bool:
        try:
            undelayed.delayed()
        except ControlError as exc:
            return "no frame passes" in str(exc)
        return False

    until(told)
    undelayed.delay(0)
    assert undelayed.trip_ms() < 2


@netns_test
def test_nothing_is_left_of_an_agent_that_was_killed(make_namespace: MakeNamespace, tmp_path: Path) -> None:
    with wired(make_namespace, tmp_path) as bed:
        bed.delay(4)
        pid = forwarder(bed)
        bed.processes["a"].kill()

        until(lambda: not Path(f"/proc/{pid}").exists())


def test_frames_go_on_in_their_order_and_not_before_they_are_due() -> None:
    waiting = Waiting()
    for due_ns, frame in ((30, b"c"), (10, b"a"), (20, b"b1"), (20, b"b2")):
        waiting.put(due_ns, 0, frame)

    assert 10 == waiting.next_ns
    assert None is waiting.take(9)
    assert [(10, 0, b"a"), (20, 0, b"b1"), (20, 0, b"b2"), None] == [waiting.take(29) for _ in range(4)]


def test_a_full_queue_takes_no_more_until_something_has_left() -> None:
    waiting = Waiting(room_frames=2, room_bytes=5)

    assert [True, False, True, False] == [waiting.put(0, 0, frame) for frame in (b"abc", b"def", b"g", b"")]
    waiting.take(0)
    assert waiting.put(0, 0, b"hij")
