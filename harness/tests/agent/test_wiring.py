"""Which links, addresses and routes follow from a topology."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from ipaddress import IPv4Address, IPv4Network

import pytest

from harness.agent.sysctls import Kind, base
from harness.agent.wiring import Route, Wiring, interface, mac
from harness.tests.topology.test_allocator import DUAL, SPEC
from harness.topology.allocator import resolve
from harness.topology.model import PodSpec

TOPOLOGY = resolve(SPEC)
PATHS = {
    name: f"/run/netns/{name}"
    for name in [
        "underlay",
        *(node.netns for node in TOPOLOGY.nodes),
        *(pod.netns for pod in TOPOLOGY.pods),
        *(host.netns for host in TOPOLOGY.hosts),
    ]
}


def wiring(node: str, *, underlay: bool = False) -> Wiring:
    return Wiring(TOPOLOGY, TOPOLOGY.node(node), PATHS, underlay=underlay)


def test_hardware_addresses_follow_from_addresses() -> None:
    assert "0a:58:0a:f4:00:02" == mac(IPv4Address("10.244.0.2"))


def test_interface_names_fit_and_differ() -> None:
    names = [interface(f"pod-{name}") for name in ("a", "a" * 11, "a" * 12, "a" * 13, "a" * 12 + "b")]

    assert ["pod-a", "pod-aaaaaaaaaaa"] == names[:2]
    assert all(len(name) <= 15 for name in names)
    assert len(names) == len(set(names))


def test_one_agent_answers_for_the_underlay_and_the_hosts() -> None:
    assert {
        "node-a": Kind.NODE,
        "pod-1-client": Kind.POD,
        "pod-1-server-a": Kind.POD,
        "underlay": Kind.UNDERLAY,
        "host-outside": Kind.HOST,
        "host-far": Kind.HOST,
    } == wiring("a", underlay=True).kinds
    assert {"node-b", "pod-1-server-b", "pod-1-plain"} == set(wiring("b").kinds)


def test_every_agent_makes_the_underlay_ready_before_it_plugs_in() -> None:
    assert "underlay" in {work.namespace for work in wiring("b").settings()}


def test_each_pod_has_one_veth_to_its_node_and_each_node_one_to_the_underlay() -> None:
    [node] = wiring("b").veths()

    assert [
        ("uplink", "node-b", "/run/netns/underlay"),
        ("pod-1-server-b", "eth0", "/run/netns/pod-1-server-b"),
        ("pod-1-plain", "eth0", "/run/netns/pod-1-plain"),
    ] == [(veth.name, veth.peer, veth.peer_path) for veth in node.arguments["veths"]]


def test_a_node_reaches_its_pods_directly_and_others_through_their_nodes() -> None:
    node = next(work for work in wiring("a").reach() if work.namespace == "node-a")

    assert [
        Route(link="pod-1-client", network=IPv4Network("10.244.0.2/32")),
        Route(link="pod-1-server-a", network=IPv4Network("10.244.0.3/32")),
        Route(link="uplink", network=IPv4Network("10.244.1.0/24"), gateway=IPv4Address("172.30.0.2")),
    ] == node.arguments["routes"]


def test_a_host_reaches_every_pod_through_its_node() -> None:
    host = next(work for work in wiring("a", underlay=True).reach() if work.namespace == "host-outside")

    assert [
        Route(link="eth0", network=IPv4Network("10.244.0.0/24"), gateway=IPv4Address("172.30.0.1")),
        Route(link="eth0", network=IPv4Network("10.244.1.0/24"), gateway=IPv4Address("172.30.0.2")),
    ] == host.arguments["routes"]


def test_every_direct_address_is_a_neighbour_beforehand() -> None:
    node = next(work for work in wiring("a").reach() if work.namespace == "node-a")

    assert {"10.244.0.2", "10.244.0.3", "172.30.0.2", "172.30.0.254", "172.30.0.253"} == {
        str(neighbour.address) for neighbour in node.arguments["neighbours"]
    }


@pytest.mark.parametrize("underlay", [True, False])
def test_every_call_exists(underlay: bool) -> None:
    both = wiring("a", underlay=underlay)

    for work in [*both.settings(), *both.veths(), *both.reach()]:
        module, _, name = work.function.partition(":")
        assert callable(getattr(import_module(module), name))


def test_no_link_names_collide_on_a_full_node() -> None:
    pods = tuple(PodSpec(name=f"deployment-with-a-long-name-{n}", node="a") for n in range(100))
    topology = resolve(replace(SPEC, pods=pods))
    paths = PATHS | {pod.netns: "/x" for pod in topology.pods}
    [node] = Wiring(topology, topology.node("a"), paths, underlay=False).veths()

    assert 101 == len({veth.name for veth in node.arguments["veths"]})


def test_no_port_of_the_testbed_is_an_ephemeral_one() -> None:
    first, last = (int(word) for word in base(Kind.POD)["ipv4/ip_local_port_range"].split())

    assert not {8080, 9001, 9002, 9003, 15001, 15006, 15008} & set(range(first, last + 1))


def test_ipv6_goes_the_same_ways_as_ipv4() -> None:
    """Each address beside its twin, behind the same hardware address; nothing for a pod without IPv6."""
    topology = resolve(replace(DUAL, pods=(*DUAL.pods, PodSpec(name="old", node="a", ipv6=False))))
    paths = PATHS | {pod.netns: "/x" for pod in topology.pods}
    both = Wiring(topology, topology.node("a"), paths, underlay=True)
    reached = {work.namespace: work.arguments for work in both.reach()}

    node = reached["node-a"]
    hardware: dict[str, set[str]] = {}
    for neighbour in node["neighbours"]:
        hardware.setdefault(neighbour.mac, set()).add(str(neighbour.address))
    assert {"10.244.0.2", "fd00:10:244::2"} in hardware.values()
    assert {"172.30.0.254", "fd00:172:30::fe"} in hardware.values()
    assert {"10.244.0.4"} in hardware.values()
    assert [
        "fd00:10:244::2/128 pod-1-client",
        f"fd00:10:244::3/128 {interface('pod-1-server-a')}",
        "fd00:10:244:1::/64 uplink fd00:172:30::2",
    ] == [_shown(route) for route in node["routes"] if route.network.version == 6]
    assert ["fd00:10:244::1/128 eth0", "::/0 eth0 fd00:10:244::1"] == [
        _shown(route) for route in reached["pod-1-client"]["routes"] if route.network.version == 6
    ]
    assert [] == [route for route in reached["pod-1-old"]["routes"] if route.network.version == 6]
    settings = {work.namespace: work.arguments["ipv6"] for work in both.settings()}
    assert (True, False, True, False) == tuple(
        settings[name] for name in ("pod-1-client", "pod-1-old", "host-far", "underlay")
    )


def _shown(route: Route) -> str:
    return " ".join(str(part) for part in (route.network, route.link, route.gateway) if part is not None)
