"""From a topology to members: who shares what with whom, and who may do what."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from harness import dataplanes
from harness.agent.probe import APPLIER_ENV
from harness.engines.api import Member, Role
from harness.errors import UsageError
from harness.testbed import trial
from harness.testbed.members import FORWARDED, compose, wired
from harness.topology.allocator import resolve
from harness.topology.layout import Layout
from harness.topology.model import HostSpec, NodeSpec, PodSpec, Topology, TopologySpec

LAYOUT = Layout(Path("/run/ambientbench/abcdef"))


@pytest.fixture
def topology() -> Topology:
    """Two nodes, a client, two servers and a host."""
    return resolve(
        TopologySpec(
            nodes=(NodeSpec(name="a"), NodeSpec(name="b")),
            pods=(
                PodSpec(name="client", node="a", client=True),
                PodSpec(name="local", node="a"),
                PodSpec(name="remote", node="b"),
            ),
            hosts=(HostSpec(name="outside"),),
        )
    )


def _members(topology: Topology, dataplane: str = "pyztunnel") -> dict[str, Member]:
    return {member.name: member for member in compose(topology, dataplanes.named(dataplane), LAYOUT)}


def test_every_member_of_the_standard_testbed_is_there(topology: Topology) -> None:
    assert set(_members(topology)) == {
        *("underlay", "controlplane", "node-a", "agent-a", "ztunnel-a", "node-b", "agent-b", "ztunnel-b"),
        *("probe-client", "locust-client", "pod-local", "pod-remote", "host-outside"),
    }


def test_without_a_data_plane_there_is_no_proxy(topology: Topology) -> None:
    assert not [member for member in _members(topology, "none").values() if member.role is Role.ZTUNNEL]


def test_an_owner_of_a_namespace_comes_before_those_that_share_it(topology: Topology) -> None:
    owners: dict[str, str] = {}
    for member in compose(topology, dataplanes.named("pyztunnel"), LAYOUT):
        owners.setdefault(member.namespace, member.name)

    assert owners["node-a"] == "node-a"
    assert owners["pod-client"] == "probe-client"


def test_wiring_needs_the_agents_and_the_owners_of_linked_namespaces(topology: Topology) -> None:
    members = tuple(_members(topology).values())

    assert {member.name for member in members} - {member.name for member in wired(members)} == {
        *("controlplane", "ztunnel-a", "ztunnel-b", "locust-client"),
    }


def test_only_agents_and_proxies_have_capabilities_each_with_its_reason(topology: Topology) -> None:
    members = _members(topology)

    assert {name for name, member in members.items() if member.capabilities} == {
        *("agent-a", "agent-b", "ztunnel-a", "ztunnel-b"),
    }
    assert set(members["agent-a"].capabilities) == {"NET_ADMIN", "NET_RAW", "SYS_ADMIN", "SYS_PTRACE"}
    assert set(members["ztunnel-a"].capabilities) == {"NET_ADMIN", "NET_RAW", "SYS_ADMIN"}
    assert all(reason for member in members.values() for reason in member.capabilities.values())
    assert {name for name, member in members.items() if member.host_pids} == {"agent-a", "agent-b"}


def test_a_node_sees_nothing_of_another_nodes_sockets(topology: Topology) -> None:
    for name, member in _members(topology).items():
        if member.role in {Role.AGENT, Role.ZTUNNEL}:
            others = [mount.path for mount in member.mounts if mount.path.name in {"a", "b"} - {member.node}]
            assert others == [], name


def test_the_bench_socket_is_seen_by_its_proxy_and_the_load_alone(topology: Topology) -> None:
    folder = LAYOUT.bench("a").parent

    holders = {
        name for name, member in _members(topology).items() if folder in {m.path for m in member.mounts}
    }

    assert holders == {"ztunnel-a", "probe-client", "locust-client"}


def test_proxies_cannot_write_the_mesh_document_nor_anyone_the_topology(topology: Topology) -> None:
    for member in _members(topology).values():
        for mount in member.mounts:
            if mount.path in {LAYOUT.mesh.parent, LAYOUT.topology}:
                assert not mount.writable


def test_every_mounted_folder_is_made_beforehand(topology: Topology) -> None:
    made = {*LAYOUT.folders(topology), LAYOUT.topology}

    assert {mount.path for member in _members(topology).values() for mount in member.mounts} <= made


def test_socket_paths_fit_with_the_longest_names() -> None:
    longest = "n" * 32
    sockets = [
        layout(longest)
        for layout in (
            LAYOUT.agent,
            LAYOUT.zds,
            LAYOUT.ca,
            LAYOUT.proxy,
            LAYOUT.bench,
            LAYOUT.probe,
            LAYOUT.locust,
        )
    ]

    assert max(len(str(path)) for path in [*sockets, LAYOUT.controlplane]) <= 107


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
