"""From a topology to members: who shares what with whom, and who may do what."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from harness import dataplanes
from harness.agent.probe import APPLIER_ENV
from harness.backends.nginx import status_socket
from harness.engines.api import Member, Role
from harness.errors import UsageError
from harness.plan.model import Interception
from harness.testbed import trial
from harness.testbed.members import FORWARDED, compose, wired
from harness.testbed.placement import Placement
from harness.topology.allocator import LANES_MAX, resolve
from harness.topology.layout import Layout
from harness.topology.model import HostSpec, NodeSpec, PodSpec, Topology, TopologySpec

LAYOUT = Layout(Path("/run/ambientbench/abcdef"))


SPEC = TopologySpec(
    nodes=(NodeSpec(name="a"), NodeSpec(name="b")),
    pods=(
        PodSpec(name="client", node="a", client=True),
        PodSpec(name="local", node="a"),
        PodSpec(name="remote", node="b"),
    ),
    hosts=(HostSpec(name="outside"),),
)


@pytest.fixture
def topology() -> Topology:
    """Two nodes, a client, two servers and a host."""
    return resolve(SPEC)


def _in_lanes(lanes: int) -> Topology:
    return resolve(SPEC, lanes)


REDIRECT = Placement(dataplane="pyztunnel", interception=Interception.REDIRECT)
NOTHING = Placement(dataplane="none", interception=Interception.NONE)


def _members(topology: Topology, *placements: Placement) -> dict[str, Member]:
    return {member.name: member for member in compose(topology, placements or (REDIRECT,), LAYOUT)}


def test_every_member_of_the_standard_testbed_is_there(topology: Topology) -> None:
    assert set(_members(topology)) == {
        *("underlay", "controlplane", "node-a", "agent-a", "ztunnel-1-a", "node-b", "agent-b", "ztunnel-1-b"),
        *("probe", "locust", "pod-1-client", "pod-1-local", "pod-1-remote", "host-outside"),
    }


def test_without_a_data_plane_there_is_no_proxy(topology: Topology) -> None:
    assert not [member for member in _members(topology, NOTHING).values() if member.role is Role.ZTUNNEL]


def test_an_owner_of_a_namespace_comes_before_those_that_share_it(topology: Topology) -> None:
    owners: dict[str, str] = {}
    for member in compose(topology, (REDIRECT,), LAYOUT):
        owners.setdefault(member.namespace, member.name)

    assert owners["node-a"] == "node-a"
    assert owners["pod-1-client"] == "pod-1-client"


def test_wiring_needs_the_agents_and_the_owners_of_linked_namespaces(topology: Topology) -> None:
    members = tuple(_members(topology).values())

    assert {member.name for member in members} - {member.name for member in wired(members)} == {
        *("controlplane", "ztunnel-1-a", "ztunnel-1-b", "probe", "locust"),
    }


def test_only_agents_and_proxies_have_capabilities_each_with_its_reason(topology: Topology) -> None:
    members = _members(topology)

    assert {name for name, member in members.items() if member.capabilities} == {
        *("agent-a", "agent-b", "ztunnel-1-a", "ztunnel-1-b"),
    }
    assert set(members["agent-a"].capabilities) == {"NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_PTRACE"}
    assert set(members["ztunnel-1-a"].capabilities) == {"NET_ADMIN", "NET_RAW", "SYS_ADMIN"}
    assert all(reason for member in members.values() for reason in member.capabilities.values())
    assert {name for name, member in members.items() if member.host_pids} == {"agent-a", "agent-b"}


def test_a_node_sees_nothing_of_another_nodes_sockets(topology: Topology) -> None:
    for name, member in _members(topology).items():
        if member.role in {Role.AGENT, Role.ZTUNNEL}:
            others = [
                mount.path for mount in member.mounts if ({"a", "b"} - {member.node}) & {*mount.path.parts}
            ]
            assert others == [], name


def test_the_bench_socket_is_seen_by_its_proxy_and_the_load_alone(topology: Topology) -> None:
    folder = LAYOUT.bench("a", 1).parent

    holders = {
        name for name, member in _members(topology).items() if folder in {m.path for m in member.mounts}
    }

    assert holders == {"ztunnel-1-a", "probe", "locust"}


def test_load_has_a_namespace_of_its_own_and_the_agents_sockets(topology: Topology) -> None:
    for name in ("probe", "locust"):
        member = _members(topology)[name]
        assert (member.namespace, member.node) == (name, "")
        assert {LAYOUT.sockets("a").parent, LAYOUT.sockets("b").parent} <= {m.path for m in member.mounts}


def test_proxies_cannot_write_the_mesh_document_nor_anyone_the_topology(topology: Topology) -> None:
    for member in _members(topology).values():
        for mount in member.mounts:
            if mount.path in {LAYOUT.mesh(1).parent, LAYOUT.topology}:
                assert not mount.writable


def test_every_mounted_folder_is_made_beforehand(topology: Topology) -> None:
    made = {*LAYOUT.folders(topology), LAYOUT.topology}

    assert {mount.path for member in _members(topology).values() for mount in member.mounts} <= made


def test_socket_paths_fit_with_the_longest_names() -> None:
    longest = "n" * 32
    spec = TopologySpec(
        nodes=(NodeSpec(name=longest),), pods=(PodSpec(name=longest, node=longest),), hosts=()
    )
    (*_, pod) = resolve(spec, LANES_MAX).pods
    sockets = [LAYOUT.agent(longest), LAYOUT.sockets(longest), status_socket(LAYOUT.app(pod))]
    sockets += [each(longest, LANES_MAX) for each in (LAYOUT.zds, LAYOUT.ca, LAYOUT.proxy, LAYOUT.bench)]

    assert max(len(str(path)) for path in [*sockets, LAYOUT.probe, LAYOUT.controlplane]) <= 107


def test_the_users_choice_of_an_applier_reaches_the_agents_alone(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(APPLIER_ENV, "iptables-restore")

    chosen = {name for name, member in _members(topology).items() if APPLIER_ENV in member.env}
    assert {"agent-a", "agent-b"} == chosen
    assert (APPLIER_ENV,) == FORWARDED
    tried = trial._members(Path("/run/x"))
    assert {trial.AGENT} == {name for name, member in tried.items() if APPLIER_ENV in member.env}


def test_an_unknown_data_plane_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'envoi'; known: envoy, none, pyztunnel"):
        dataplanes.named("envoi")


def test_addresses_do_not_matter_to_members(topology: Topology) -> None:
    texts = [part for member in _members(topology).values() for part in member.command]

    assert not [text for text in texts if str(IPv4Address("10.244.0.2")) in text]


def test_each_lane_has_pods_and_proxies_of_its_own_and_nodes_are_shared(topology: Topology) -> None:
    two = compose(
        _in_lanes(2), (REDIRECT, Placement(dataplane="envoy", interception=Interception.REDIRECT)), LAYOUT
    )

    of_lane = {lane: {member.name for member in two if member.lane == lane} for lane in (0, 1, 2)}
    assert of_lane[0] == {
        "underlay",
        "controlplane",
        "node-a",
        "agent-a",
        "node-b",
        "agent-b",
        "host-outside",
        "probe",
        "locust",
    }
    assert of_lane[1] == {
        member.name for member in compose(topology, (REDIRECT,), LAYOUT) if member.lane == 1
    }
    assert of_lane[2] == {
        *("pod-2-client", "pod-2-local", "pod-2-remote"),
        *("envoy-2-client", "envoy-2-local", "envoy-2-remote", "keeper-2-a", "keeper-2-b"),
    }


def test_what_a_lane_s_proxy_sees_is_its_lanes(topology: Topology) -> None:
    del topology
    first, second = (
        {
            mount.path
            for member in compose(_in_lanes(2), (REDIRECT,) * 2, LAYOUT)
            if member.name == name
            for mount in member.mounts
        }
        for name in ("ztunnel-1-a", "ztunnel-2-a")
    )

    assert not first & second
    assert len(first) == len(second) == 5


def test_a_pod_without_a_backend_only_holds_its_namespace() -> None:
    spec = TopologySpec(
        nodes=(NodeSpec(name="a"),), pods=(PodSpec(name="quiet", node="a", backend=False),), hosts=()
    )
    member = _members(resolve(spec))["pod-1-quiet"]

    assert member.role is Role.POD
    assert member.mounts == ()
    assert "harness.engines.idle" in member.command


def test_each_node_of_a_lane_may_have_a_data_plane_of_its_own(topology: Topology) -> None:
    mixed = Placement(dataplane={"a": "pyztunnel", "b": "envoy"}, interception=Interception.REDIRECT)

    carrying = {name for name, member in _members(topology, mixed).items() if member.role is Role.ZTUNNEL}
    assert carrying == {"ztunnel-1-a", "envoy-1-remote"}


def test_the_bench_s_helpers_are_no_part_of_the_data_plane(topology: Topology) -> None:
    envoys = _members(topology, Placement(dataplane="envoy", interception=Interception.REDIRECT))

    assert {name for name, member in envoys.items() if member.role is Role.HELPER} == {
        "keeper-1-a",
        "keeper-1-b",
    }


def test_members_that_share_a_folder_mount_the_same_one() -> None:
    """A compose file has a volume for each folder: one mounted above another's would be another volume."""
    members = compose(_in_lanes(2), (REDIRECT, REDIRECT), LAYOUT)
    mounted = {mount.path for member in members for mount in member.mounts}

    assert [] == [(upper, lower) for upper in mounted for lower in mounted if upper in lower.parents]
