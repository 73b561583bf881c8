"""Two agents, whole: links, levels, counters and conntrack, proven with real connections.

Two nodes, three pods on one and two on the other, one host outside; each pod served by a transparent
proxy that knows nothing of levels.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.agent import netns
from harness.agent.rules.levels import names
from harness.agent.rules.marks import HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT
from harness.control import Channel, ControlError
from harness.tests.agent.conftest import MakeNamespace
from harness.tests.agent.test_zds import Client
from harness.tests.agent.transparent import Loop, Proxy, Seen, serve_app
from harness.tests.topology.test_allocator import SPEC
from harness.topology.allocator import resolve
from harness.topology.document import to_json
from harness.topology.model import APP_PORT, PodSpec, Topology

pytestmark = pytest.mark.netns

TOPOLOGY = resolve(replace(SPEC, pods=(*SPEC.pods, PodSpec(name="refused", node="a")), hosts=SPEC.hosts[:1]))
CONNECTIONS = 5
LINES = 4
"""Round trips on each connection."""

CAPTURING = [name for name in names() if name != "none"]


@dataclass(frozen=True, slots=True)
class Bed:
    """A testbed of namespaces, agents, apps and proxies."""

    topology: Topology
    paths: Mapping[str, str]
    rundir: Path
    agents: Mapping[str, Channel]
    processes: Mapping[str, subprocess.Popen[bytes]]
    proxies: Mapping[str, Proxy]

    def ask(self, op: str, **arguments: object) -> dict[str, dict[str, Any]]:
        """Ask both agents; what they say of namespaces, joined."""
        for agent in self.agents.values():
            agent.send(op, **arguments)
        joined: dict[str, dict[str, Any]] = {}
        for agent in self.agents.values():
            joined |= agent.receive().document.get("namespaces", {})
        return joined

    def address(self, name: str) -> str:
        return str(self.topology.member(name).address)

    def connect(self, source: str, target: str, port: int = APP_PORT) -> socket.socket:
        """A connection from one member to another, opened in the source's namespace."""
        path = self.paths[self.topology.member(source).netns]
        return netns.inside(path, lambda: socket.create_connection((self.address(target), port), timeout=5))

    def talk(self, source: str, target: str) -> set[str]:
        """Connections with several round trips each; the source addresses that the app saw."""
        seen = set()
        for _ in range(CONNECTIONS):
            with self.connect(source, target) as connection, connection.makefile("rb") as answers:
                for _ in range(LINES):
                    connection.sendall(b"x\n")
                    seen.add(answers.readline().decode().strip())
                connection.shutdown(socket.SHUT_WR)
                assert not answers.read()
        return seen

    def measured(self, interception: str, source: str, target: str) -> Measured:
        """A level, then traffic, and what was counted meanwhile."""
        self.ask("capture", lane=1, interception=interception)
        self.ask("conntrack-flush")
        for proxy in self.proxies.values():
            proxy.seen.clear()
        before = self.ask("counters")
        sources = self.talk(source, target)
        after = self.ask("counters")
        tables: dict[str, Any] = self.ask("conntrack-dump")
        return Measured(before=before, after=after, sources=sources, tables=tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    before: Mapping[str, dict[str, Any]]
    after: Mapping[str, dict[str, Any]]
    sources: set[str]
    tables: Mapping[str, dict[str, Any]]

    @property
    def entries(self) -> dict[str, list[dict[str, Any]]]:
        """Namespace -> TCP's entries at the end."""
        return {name: table["entries"] for name, table in self.tables.items()}

    def hits(self, namespace: str, rule: str, chain: str = "") -> int:
        """Packets counted by a rule meanwhile; the rule must exist."""

        def packets(counters: Mapping[str, dict[str, Any]]) -> list[int]:
            return [
                entry["packets"]
                for entry in counters[namespace]["rules"]
                if entry["rule"] == rule and chain in {"", entry["chain"]}
            ]

        after = packets(self.after)
        assert after, f"no rule {rule} in {namespace}"
        return sum(after) - sum(packets(self.before))


@pytest.fixture(scope="module")
def bed(make_namespace: MakeNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    topology = TOPOLOGY
    members = [
        "underlay",
        *(node.netns for node in topology.nodes),
        *(pod.netns for pod in topology.pods),
        *(host.netns for host in topology.hosts),
    ]
    paths = {name: make_namespace() for name in members}
    rundir = tmp_path_factory.mktemp("run")
    document = rundir / "topology.json"
    document.write_text(to_json(topology))
    with ExitStack() as undo:
        processes = {}
        for node in topology.nodes:
            for folder in ("agent", "zds", "sockets"):
                (rundir / folder / node.name / "1").mkdir(parents=True)
            command = [sys.executable, "-m", "harness.agent", "--node", node.name, "--rundir", str(rundir)]
            process = undo.enter_context(subprocess.Popen(command))
            undo.callback(process.terminate)
            processes[node.name] = process
        agents = {
            node.name: undo.enter_context(
                Channel(rundir / "agent" / node.name / "agent.sock", connect_timeout_s=10)
            )
            for node in topology.nodes
        }
        for index, agent in enumerate(agents.values()):
            agent.call("setup", namespaces=paths, topology=str(document), underlay=index == 0)
        loop = undo.enter_context(Loop())
        for netns_name in (*(pod.netns for pod in topology.pods), *(host.netns for host in topology.hosts)):
            serve_app(loop, paths[netns_name], APP_PORT)
        captured = [pod for pod in topology.pods if pod.captured]
        mesh = frozenset(str(pod.address) for pod in captured)
        proxies = {pod.name: Proxy(loop, paths[pod.netns], str(pod.address), mesh) for pod in captured}
        yield Bed(topology, paths, rundir, agents, processes, proxies)


def within(bed: Bed, namespace: str, function: Callable[[], Any]) -> Any:
    return netns.inside(bed.paths[namespace], function)


def test_the_agent_says_who_it_is_and_what_works_here(bed: Bed) -> None:
    hello = bed.agents["a"].call("hello").document

    assert ("a", bed.processes["a"].pid, "python-iptables") == (hello["node"], hello["pid"], hello["applier"])
    assert dict.fromkeys(names(), "") == hello["kernel"]["levels"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("client", "server-a"),
        ("client", "server-b"),
        ("client", "outside"),
        ("outside", "plain"),
        ("plain", "client"),
    ],
)
def test_everyone_reaches_everyone_untranslated(bed: Bed, source: str, target: str) -> None:
    bed.ask("capture", lane=1, interception="none")

    assert {bed.address(source)} == bed.talk(source, target)


def test_setup_again_changes_nothing(bed: Bed) -> None:
    def links() -> str:
        return subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout

    before = within(bed, "node-a", links)
    answer = bed.agents["a"].call(
        "setup", namespaces=bed.paths, topology=str(bed.rundir / "topology.json"), underlay=True
    )

    assert before == within(bed, "node-a", links)
    assert {False} == {link["made"] for link in answer.document["links"]}
    assert "0" == answer.document["sysctls"]["pod-1-client"]["ipv4/conf/eth0/rp_filter"]
    assert answer.document["sysctls"]["pod-1-client"]["ipv4/tcp_congestion_control"] in {"cubic", "reno"}


@pytest.mark.parametrize("namespace", ["node-a", "node-b", "underlay"])
def test_no_link_has_the_number_of_its_other_end(bed: Bed, namespace: str) -> None:
    """One that has is up a second late for a bridge, and loses the first packets."""

    def links() -> list[dict[str, Any]]:
        command = ["ip", "-json", "link", "show", "type", "veth"]
        found: list[dict[str, Any]] = json.loads(
            subprocess.run(command, capture_output=True, check=True).stdout
        )
        return found

    found = within(bed, namespace, links)

    assert found
    assert [] == [link["ifname"] for link in found if link["ifindex"] == link["link_index"]]


def test_links_are_as_declared(bed: Bed) -> None:
    def described() -> str:
        commands = "cat /sys/class/net/eth0/mtu; ip -6 addr; ip neigh; sysctl -n net.ipv4.tcp_fastopen"
        script = f"mount -t sysfs sysfs /sys; {commands}"
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True
        ).stdout

    expected = "1500\n10.244.0.1 dev eth0 lladdr 0a:58:0a:f4:00:01 PERMANENT \n0\n"
    assert expected == within(bed, "pod-1-client", described)


@pytest.mark.parametrize("level", CAPTURING)
@pytest.mark.parametrize("target", ["server-a", "server-b"])
def test_mesh_traffic_goes_through_both_proxies_and_keeps_its_source(
    bed: Bed, level: str, target: str
) -> None:
    found = bed.measured(level, "client", target)

    client, server = bed.address("client"), bed.address(target)
    assert {client} == found.sources
    assert [Seen(OUTBOUND_PORT, client, (server, APP_PORT))] * CONNECTIONS == bed.proxies["client"].seen
    assert [Seen(HBONE_PORT, client, (server, HBONE_PORT))] * CONNECTIONS == bed.proxies[target].seen


@pytest.mark.parametrize("level", CAPTURING)
def test_traffic_out_of_the_mesh_goes_through_one_proxy(bed: Bed, level: str) -> None:
    found = bed.measured(level, "client", "outside")

    client, host = bed.address("client"), bed.address("outside")
    assert {client} == found.sources
    assert [Seen(OUTBOUND_PORT, client, (host, APP_PORT))] * CONNECTIONS == bed.proxies["client"].seen
    assert 0 == found.hits("node-a", "wire-hbone-dport")
    assert 0 < found.hits("node-a", "wire-app-dport")


@pytest.mark.parametrize("level", CAPTURING)
@pytest.mark.parametrize("source", ["outside", "plain"])
def test_plaintext_into_the_mesh_is_captured_and_keeps_its_source(bed: Bed, level: str, source: str) -> None:
    found = bed.measured(level, source, "server-a")

    client, server = bed.address(source), bed.address("server-a")
    assert {client} == found.sources
    assert [Seen(INBOUND_PORT, client, (server, APP_PORT))] * CONNECTIONS == bed.proxies["server-a"].seen


@pytest.mark.parametrize("level", CAPTURING)
def test_a_pod_that_calls_itself_passes_by_its_proxy(bed: Bed, level: str) -> None:
    found = bed.measured(level, "client", "client")

    assert {bed.address("client")} == found.sources
    assert [] == bed.proxies["client"].seen


@pytest.mark.parametrize("level", CAPTURING)
def test_a_refused_leg_to_the_app_is_refused_at_once(bed: Bed, level: str) -> None:
    """The kernel answers a SYN to a closed port without a socket, hence without the socket's mark."""
    bed.ask("capture", lane=1, interception=level)

    with bed.connect("outside", "server-a", port=7) as connection:
        assert b"" == _end(connection)


def _end(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("level", names())
def test_uncaptured_pods_are_left_alone(bed: Bed, level: str) -> None:
    found = bed.measured(level, "plain", "outside")

    assert {bed.address("plain")} == found.sources
    assert all(not proxy.seen for proxy in bed.proxies.values())
    assert CONNECTIONS == found.hits("pod-1-plain", "count-syn", "BENCH_OUTPUT")


def test_redirect_rules_are_hit_once_per_connection(bed: Bed) -> None:
    found = bed.measured("redirect", "client", "server-b")

    assert CONNECTIONS == found.hits("pod-1-client", "redirect-outbound")
    # the app's SYN, and the proxy's own
    assert 2 * CONNECTIONS == found.hits("pod-1-client", "count-syn", "BENCH_OUTPUT")
    assert 0 == found.hits("pod-1-server-b", "redirect-inbound")


def test_redirect_catches_plaintext_once_per_connection(bed: Bed) -> None:
    found = bed.measured("redirect", "outside", "server-b")

    assert CONNECTIONS == found.hits("pod-1-server-b", "redirect-inbound")


@pytest.mark.parametrize("level", ["tproxy", "tproxy-notrack"])
def test_tproxy_rules_are_hit_by_every_packet(bed: Bed, level: str) -> None:
    found = bed.measured(level, "client", "server-b")

    marked = found.hits("pod-1-client", "mark-outbound")
    # SYN, ACK, each line, FIN: more where acknowledgements travel alone
    assert CONNECTIONS * (3 + LINES) <= marked
    assert marked == found.hits("pod-1-client", "tproxy-outbound")


@pytest.mark.parametrize("target", ["server-a", "server-b", "outside"])
@pytest.mark.parametrize("level", names())
def test_conntrack_is_on_where_the_level_says_so_and_nowhere_else(bed: Bed, level: str, target: str) -> None:
    found = bed.measured(level, "client", target)

    # the app's connection and the proxy's own; on the server the tunnel and the leg to the app
    per_connection = 2 if level in {"redirect", "tproxy"} else 0
    tracked = {"pod-1-client"} | ({f"pod-1-{target}"} if target != "outside" else set())
    for namespace, entries in found.entries.items():
        expected = per_connection * CONNECTIONS if namespace in tracked else 0
        assert (namespace, expected) == (namespace, len(entries))
        table = found.tables[namespace]
        assert (namespace, len(entries) + table["others"]) == (namespace, table["counted"])
        if not per_connection:
            assert 0 == found.after[namespace]["conntrack"]


def test_a_dump_tells_the_legs_apart(bed: Bed) -> None:
    entries = bed.measured("redirect", "client", "outside").entries["pod-1-client"]

    redirected = [entry for entry in entries if entry["reply_sport"] == OUTBOUND_PORT]
    assert CONNECTIONS == len(redirected)
    assert {bed.address("outside")} == {entry["dst"] for entry in entries}
    legs = bed.measured("redirect", "client", "server-b").entries["pod-1-server-b"]
    assert {0x111: CONNECTIONS, 0: CONNECTIONS} == {
        mark: [entry["mark"] for entry in legs].count(mark) for mark in (0x111, 0)
    }


@pytest.mark.parametrize("level", CAPTURING)
def test_the_wire_shows_tunnels_and_no_plaintext(bed: Bed, level: str) -> None:
    found = bed.measured(level, "client", "server-b")

    for node in ("node-a", "node-b"):
        assert 0 < found.hits(node, "wire-hbone-dport")
        assert 0 < found.hits(node, "wire-hbone-sport")
        for quiet in ("wire-app-dport", "wire-app-sport", "wire-other", "local-hbone-dport"):
            assert (quiet, 0) == (quiet, found.hits(node, quiet))


def test_traffic_within_a_node_does_not_reach_the_wire(bed: Bed) -> None:
    found = bed.measured("redirect", "client", "server-a")

    assert 0 < found.hits("node-a", "local-hbone-dport")
    assert all(
        0 == found.hits("node-a", f"wire-{kind}")
        for kind in ("hbone-dport", "hbone-sport", "app-dport", "app-sport", "other")
    )


@pytest.mark.parametrize("level", names())
def test_the_digest_is_the_expected_one_everywhere(bed: Bed, level: str) -> None:
    captured = bed.ask("capture", lane=1, interception=level)
    counters = bed.ask("counters")

    for name, found in counters.items():
        assert (name, found["expected_digest"]) == (name, found["digest"])
        if name != "underlay":
            assert captured[name]["digest"] == found["digest"]


def test_a_rule_removed_in_between_is_seen(bed: Bed) -> None:
    bed.ask("capture", lane=1, interception="redirect")
    command = ["iptables-legacy", "-t", "nat", "-F", "ISTIO_OUTPUT"]
    within(bed, "pod-1-client", lambda: subprocess.run(command, check=True))

    found = bed.ask("counters")["pod-1-client"]
    assert found["expected_digest"] != found["digest"]
    bed.ask("capture", lane=1, interception="redirect")
    assert found["expected_digest"] == bed.ask("counters")["pod-1-client"]["digest"]


def test_measured_links_carry_nothing_else_and_what_else_is_counted(bed: Bed) -> None:
    quiet = bed.measured("redirect", "client", "server-b")
    before = strayed(quiet.after["pod-1-server-b"])

    def stray() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for _ in range(3):
                datagrams.sendto(b"x", (bed.address("server-b"), 9))

    within(bed, "pod-1-client", stray)
    found = bed.ask("counters")
    assert {0} == {strayed(found) for found in quiet.before.values()}
    assert {0} == {strayed(found) for found in quiet.after.values()}
    assert 3 == strayed(found["pod-1-server-b"]) - before
    # the node sees them come, on the pod's link, and the answers that there is no such port
    assert 3 <= strayed(found["node-a"])
    assert 3 <= found["node-a"]["stray"]["1"]


def strayed(counters: Mapping[str, Any]) -> int:
    """Frames that have no business on a namespace's links, whichever lane's they are."""
    return sum(counters["stray"].values())


def test_filler_is_walked_and_capture_still_works(bed: Bed) -> None:
    for level in CAPTURING:
        bed.ask("capture", lane=1, interception=level, filler_rules=1000)

        assert {bed.address("client")} == bed.talk("client", "server-b")
        counters = bed.ask("counters")["pod-1-client"]
        filler = [entry for entry in counters["rules"] if entry["rule"] == "filler"]
        assert [0] == [entry["packets"] for entry in filler]
        assert counters["expected_digest"] == counters["digest"]


def test_enrolment_hands_over_the_pods_namespace_after_its_rules(bed: Bed) -> None:
    bed.ask("capture", lane=1, interception="redirect")
    agent = bed.agents["a"]
    client = Client(bed.rundir / "zds" / "a" / "1" / "zds.sock")
    client.serve(1)
    agent.send("enrol", lane=1, pod="client")
    data, inode = client.receive()
    client.socket.send(bytes.fromhex("0a00"))

    assert 0 < agent.receive().document["seconds"]
    assert b"Kubernetes//Pod/bench/client" in data
    assert Path(bed.paths["pod-1-client"]).stat().st_ino == inode
    status = agent.call("zds", lane=1).document
    assert (True, "V1", 2) == (status["connected"], status["hello"], status["acks"])

    agent.send("withdraw", lane=1, pod="client")
    assert ["del Kubernetes//Pod/bench/client"] == client.serve(1)
    agent.receive()
    rules = {entry["rule"] for entry in bed.ask("counters")["pod-1-client"]["rules"]}
    assert "redirect-outbound" not in rules

    agent.send("enrol", lane=1, pod="client")
    client.serve(1)
    agent.receive()
    rules = {entry["rule"] for entry in bed.ask("counters")["pod-1-client"]["rules"]}
    assert "redirect-outbound" in rules
    client.close()


@pytest.mark.parametrize(
    ("op", "arguments", "message"),
    [
        (
            "capture",
            {"lane": 1, "interception": "nftables"},
            "unknown interception level 'nftables'; known: none",
        ),
        ("capture", {"lane": 1, "interception": "none", "filler_rules": 5}, "there is nothing to precede"),
        ("capture", {"lane": 1, "level": "none"}, "capture: missing a required argument: 'interception'"),
        ("capture", {"lane": 2, "interception": "none"}, "no lane 2 on node a; there are 1 to 1"),
        (
            "enrol",
            {"lane": 1, "pod": "nobody"},
            "no pod 'nobody' of lane 1 on node a; known: client, refused, server-a",
        ),
        ("enrol", {"lane": 1, "pod": "plain"}, "no pod 'plain' of lane 1 on node a"),
        ("dance", {}, "unknown op 'dance'; known: attempt, capture, conntrack-dump"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    bed: Bed, op: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ControlError, match=message):
        bed.agents["a"].call(op, timeout_s=30.0, **arguments)


def test_an_agent_that_is_not_wired_says_what_comes_first(bed: Bed, tmp_path: Path) -> None:
    assert bed
    for folder in ("agent", "zds", "sockets"):
        (tmp_path / folder / "z").mkdir(parents=True)
    command = [sys.executable, "-m", "harness.agent", "--node", "z", "--rundir", str(tmp_path)]
    with (
        subprocess.Popen(command) as process,
        Channel(tmp_path / "agent" / "z" / "agent.sock", connect_timeout_s=10) as agent,
    ):
        for op in ("counters", "conntrack-dump", "enrol"):
            with pytest.raises(ControlError, match="`setup` comes first"):
                agent.call(op, timeout_s=30.0, **({"lane": 1, "pod": "p"} if op == "enrol" else {}))
        with pytest.raises(ControlError, match="the topology has no node 'z'; known: a, b"):
            agent.call("setup", namespaces={}, topology=str(bed.rundir / "topology.json"))
        process.terminate()

        assert 0 == process.wait(10)
    assert [] == list(tmp_path.rglob("*.sock"))


def test_a_setup_that_fails_leaves_nothing(bed: Bed, make_namespace: MakeNamespace, tmp_path: Path) -> None:
    def taken() -> None:
        subprocess.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "other"], check=True)

    paths = {name: make_namespace() for name in bed.paths}
    netns.inside(paths["pod-1-refused"], taken)
    for folder in ("agent", "zds", "sockets"):
        (tmp_path / folder / "a" / "1").mkdir(parents=True)
    command = [sys.executable, "-m", "harness.agent", "--node", "a", "--rundir", str(tmp_path)]
    with (
        subprocess.Popen(command) as process,
        Channel(tmp_path / "agent" / "a" / "agent.sock", connect_timeout_s=10) as agent,
    ):
        arguments = {"namespaces": paths, "topology": str(bed.rundir / "topology.json"), "underlay": True}
        with pytest.raises(ControlError, match=r"node-a: LinkError: make pod-1-refused.*is not ours"):
            agent.call("setup", timeout_s=30.0, **arguments)
        left = netns.inside(paths["node-a"], _links)
        netns.inside(
            paths["pod-1-refused"], lambda: subprocess.run(["ip", "link", "del", "eth0"], check=True)
        )
        again = agent.call("setup", timeout_s=30.0, **arguments).document
        process.terminate()

    assert not {"uplink", "pod-1-client"} & left
    assert {True} == {link["made"] for link in again["links"] if link["namespace"] == "node-a"}


def test_an_agent_that_is_killed_leaves_no_process(
    bed: Bed, make_namespace: MakeNamespace, tmp_path: Path
) -> None:
    paths = {name: make_namespace() for name in bed.paths}
    for folder in ("agent", "zds", "sockets"):
        (tmp_path / folder / "a" / "1").mkdir(parents=True)
    command = [sys.executable, "-m", "harness.agent", "--node", "a", "--rundir", str(tmp_path)]
    with (
        subprocess.Popen(command) as process,
        Channel(tmp_path / "agent" / "a" / "agent.sock", connect_timeout_s=10) as agent,
        ExitStack() as undo,
    ):
        agent.call("setup", namespaces=paths, topology=str(bed.rundir / "topology.json"), underlay=True)
        pids = _family(process.pid)[1:]
        watched = [os.pidfd_open(pid) for pid in pids]
        for descriptor in watched:
            undo.callback(os.close, descriptor)
        process.kill()

        # the nursery and one worker for each namespace: node, three pods, underlay, host
        assert 7 == len(pids)
        for descriptor in watched:
            assert select.select([descriptor], [], [], 10)[0]


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    pids = [pid]
    for each in pids:
        pids += [int(child) for child in Path(f"/proc/{each}/task/{each}/children").read_text().split()]
    return pids


def _links() -> set[str]:
    return {
        line.partition(":")[0].strip() for line in Path("/proc/thread-self/net/dev").read_text().splitlines()
    }


def test_nothing_piles_up_in_the_agent(bed: Bed) -> None:
    agent = bed.agents["b"]

    def descriptors() -> int:
        family = _family(bed.processes["b"].pid)
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family)  # noqa: PTH208 - a count of entries

    for level in names():
        agent.call("capture", lane=1, interception=level)
    agent.call("counters")
    before = descriptors()
    for _ in range(5):
        for level in names():
            agent.call("capture", lane=1, interception=level)
        agent.call("counters")
        agent.call("conntrack-dump")
        agent.call("conntrack-flush")

    assert before == descriptors()
