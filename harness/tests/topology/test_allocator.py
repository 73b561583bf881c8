"""Addresses of a topology: what they are, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from harness.topology.allocator import LANES_MAX, TopologyError, resolve
from harness.topology.model import (
    HostSpec,
    IpFamily,
    NodeSpec,
    PodSpec,
    PolicySpec,
    ServiceSpec,
    TopologySpec,
)

SPEC = TopologySpec(
    nodes=(NodeSpec(name="a"), NodeSpec(name="b")),
    pods=(
        PodSpec(name="client", node="a", client=True),
        PodSpec(name="server-b", node="b", service_account="server"),
        PodSpec(name="server-a", node="a"),
        PodSpec(name="plain", node="b", captured=False),
    ),
    hosts=(HostSpec(name="outside"), HostSpec(name="far")),
)

DUAL = replace(
    SPEC, underlay6=IPv6Network("fd00:172:30::/64"), pods_supernet6=IPv6Network("fd00:10:244::/56")
)


def test_each_node_owns_a_subnet_and_its_first_address_is_the_gateway() -> None:
    topology = resolve(SPEC)

    assert [
        ("a", IPv4Address("172.30.0.1"), (IPv4Network("10.244.0.0/24"),), IPv4Address("10.244.0.1")),
        ("b", IPv4Address("172.30.0.2"), (IPv4Network("10.244.1.0/24"),), IPv4Address("10.244.1.1")),
    ] == [(node.name, node.address, node.pod_subnets, node.gateway) for node in topology.nodes]


def test_pods_follow_the_gateway_in_the_order_of_the_spec() -> None:
    expected = {
        "client": "10.244.0.2",
        "server-b": "10.244.1.2",
        "server-a": "10.244.0.3",
        "plain": "10.244.1.3",
    }

    assert expected == {pod.name: str(pod.address) for pod in resolve(SPEC).pods}


def test_hosts_count_down_so_that_a_new_node_moves_none() -> None:
    more = replace(SPEC, nodes=(*SPEC.nodes, NodeSpec(name="c")))

    expected = {"outside": "172.30.0.254", "far": "172.30.0.253"}
    assert expected == {host.name: str(host.address) for host in resolve(SPEC).hosts}
    assert expected == {host.name: str(host.address) for host in resolve(more).hosts}


def test_service_account_defaults_to_the_pods_name() -> None:
    expected = ["client", "server", "server-a", "plain"]

    assert expected == [pod.service_account for pod in resolve(SPEC).pods]


def test_no_two_addresses_are_equal() -> None:
    topology = resolve(SPEC)
    addresses = [
        *(node.address for node in topology.nodes),
        *(node.gateway for node in topology.nodes),
        *(pod.address for pod in topology.pods),
        *(host.address for host in topology.hosts),
    ]

    assert len(addresses) == len(set(addresses))


def test_a_full_node_holds_253_pods() -> None:
    pods = tuple(PodSpec(name=f"p{index}", node="a") for index in range(253))

    assert IPv4Address("10.244.0.254") == resolve(replace(SPEC, pods=pods)).pods[-1].address


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ()}, "at least one node"),
        ({"nodes": (NodeSpec(name="a"), NodeSpec(name="a"))}, "node 'a' is there twice"),
        ({"hosts": (HostSpec(name="client"),)}, "pod, host or service 'client' is there twice"),
        ({"pods": (PodSpec(name="p", node="z"),)}, "unknown node 'z'; known: a, b"),
        ({"pods": (PodSpec(name="Bad_Name", node="a"),)}, "'Bad_Name': a name is 1 to 32"),
        ({"pods": (PodSpec(name="p" * 33, node="a"),)}, "a name is 1 to 32"),
        ({"pods": (PodSpec(name="p", node="a", namespace="N S"),)}, "namespace 'N S'"),
        ({"pods": (PodSpec(name="p", node="a", service_account="-"),)}, "service account '-'"),
        (
            {"policies": (PolicySpec(name="deny", document={}), PolicySpec(name="deny", document={}))},
            "policy 'deny' is there twice",
        ),
        ({"underlay": IPv4Network("10.244.7.0/24")}, "overlaps pods_supernet 10.244.0.0/16"),
        ({"underlay": IPv4Network("172.30.0.0/30")}, "has 2 usable addresses"),
        ({"underlay": IPv4Network("127.0.0.0/8")}, "not for unicast use"),
        ({"underlay": IPv4Network("224.0.0.0/8")}, "not for unicast use"),
        ({"pods_supernet": IPv4Network("0.0.0.0/8")}, "not for unicast use"),
        ({"pods_supernet": IPv4Network("10.1.0.0/24")}, "holds 1 subnets of /24"),
        ({"pods_supernet": IPv4Network("10.1.0.0/25")}, "holds 0 subnets of /24"),
        (
            {"pods": tuple(PodSpec(name=f"p{index}", node="a") for index in range(254))},
            "pod 'p253': node 'a' is full; 10.244.0.0/24 holds 253 pods",
        ),
    ],
)
def test_what_cannot_exist_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(TopologyError, match=message.replace("(", r"\(")):
        resolve(replace(SPEC, **change))  # type: ignore[arg-type]  # one field per row, of that field's type


def test_an_ipv6_address_has_its_twins_number_in_its_own_network() -> None:
    topology = resolve(replace(DUAL, pods=(*DUAL.pods, PodSpec(name="old", node="b", ipv6=False))))

    assert [
        ("fd00:172:30::1", "fd00:10:244::/64", "fd00:10:244::1"),
        ("fd00:172:30::2", "fd00:10:244:1::/64", "fd00:10:244:1::1"),
    ] == [(str(node.address6), str(node.pod_subnets6[0]), str(node.gateway6)) for node in topology.nodes]
    assert {
        "client": "fd00:10:244::2",
        "server-b": "fd00:10:244:1::2",
        "server-a": "fd00:10:244::3",
        "plain": "fd00:10:244:1::3",
        "old": "None",
    } == {pod.name: str(pod.address6) for pod in topology.pods}
    assert ["fd00:172:30::fe", "fd00:172:30::fd"] == [str(host.address6) for host in topology.hosts]


def test_ipv6_changes_no_ipv4_address() -> None:
    four, both = resolve(SPEC), resolve(DUAL)

    assert [pod.address for pod in four.pods] == [pod.address for pod in both.pods]
    assert not four.ipv6
    assert all(pod.families == (IpFamily.IPV4,) for pod in four.pods)
    with pytest.raises(LookupError, match="client has no IPv6 address"):
        four.pods[0].address_of(IpFamily.IPV6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pods_supernet6": None}, "come together"),
        ({"underlay6": IPv6Network("fd00:10:244:7::/64")}, "overlaps pods_supernet6 fd00:10:244::/56"),
        ({"underlay6": IPv6Network("fd00:172:30::/121")}, "is smaller than underlay 172.30.0.0/24"),
        ({"underlay6": IPv6Network("fe80::/64")}, "not for unicast use .* such as fd00::/8"),
        ({"underlay6": IPv6Network("ff02::/64")}, "not for unicast use"),
        ({"underlay6": IPv6Network("::ffff:0:0/96")}, "not for unicast use"),
        ({"underlay6": IPv6Network("fd16:9254:7127:1337::/64")}, "health probes"),
        ({"pods_supernet6": IPv6Network("fd00:1::/64")}, "holds 1 subnets of /64"),
        ({"pods_supernet6": IPv6Network("fd00:1::/65")}, "holds 0 subnets of /64"),
    ],
)
def test_what_ipv6_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        resolve(replace(DUAL, **change))  # type: ignore[arg-type]  # one field per row, of that field's type


@pytest.mark.parametrize("nodes", ["a", "ab", "abc"])
@pytest.mark.parametrize("spec", [SPEC, DUAL])
def test_one_prefix_matches_a_lane_s_pods_and_no_other_lane_s(spec: TopologySpec, nodes: str) -> None:
    """On every node and on hosts: what belongs to which lane is told by one match."""
    pods = tuple(PodSpec(name=f"{name}{number}", node=name) for name in nodes for number in range(3))
    topology = resolve(replace(spec, nodes=tuple(NodeSpec(name=name) for name in nodes), pods=pods), 5)

    for lane in range(1, 6):
        network, network6 = topology.lane_network(lane), topology.lane_network6(lane)
        assert [pod.lane == lane for pod in topology.pods] == [
            pod.address in network for pod in topology.pods
        ]
        if network6 is not None:
            assert [pod.lane == lane for pod in topology.pods] == [
                pod.address6 in network6 for pod in topology.pods
            ]
    assert (spec is DUAL) == (topology.lane_network6(1) is not None)


def test_a_lane_s_addresses_do_not_depend_on_how_many_lanes_there_are() -> None:
    alone, many = resolve(SPEC), resolve(SPEC, 6)

    assert alone.pods == many.lane(1).pods
    assert [node.gateway for node in alone.nodes] == [node.gateway for node in many.nodes]
    assert many.lane(4).pods == resolve(SPEC, 4).lane(4).pods


def test_a_pod_has_the_same_number_in_every_lane() -> None:
    topology = resolve(DUAL, 3)

    last = [{(pod.name, int(pod.address) & 0xFF) for pod in topology.lane(lane).pods} for lane in (1, 2, 3)]
    assert last[0] == last[1] == last[2]
    assert ["10.244.0.2", "10.244.2.2", "10.244.4.2"] == [
        str(topology.lane(lane).member("client").address) for lane in (1, 2, 3)
    ]
    assert ["fd00:10:244::2", "fd00:10:244:2::2", "fd00:10:244:4::2"] == [
        str(topology.lane(lane).member("client").address6) for lane in (1, 2, 3)
    ]


def test_no_two_lanes_share_an_address() -> None:
    topology = resolve(replace(DUAL, services=(ServiceSpec(name="web", endpoints=("server-a",)),)), LANES_MAX)
    addresses = [
        *(pod.address for pod in topology.pods),
        *(pod.address6 for pod in topology.pods),
        *(service.address for service in topology.services),
        *(node.gateway for node in topology.nodes),
        *(host.address for host in topology.hosts),
    ]

    assert len(addresses) == len(set(addresses))
    assert len(topology.services) == LANES_MAX


def test_names_are_the_same_in_every_lane_and_namespaces_are_not() -> None:
    topology = resolve(SPEC, 2)

    first, second = topology.lane(1), topology.lane(2)
    for same in ("name", "namespace", "service_account", "uid", "spiffe_id", "node"):
        assert [getattr(pod, same) for pod in first.pods] == [getattr(pod, same) for pod in second.pods]
    assert ["pod-1-client", "pod-2-client"] == [view.member("client").netns for view in (first, second)]
    assert len({pod.netns for pod in topology.pods}) == 2 * len(SPEC.pods)


def test_a_view_shares_nodes_and_hosts_and_has_its_own_services() -> None:
    spec = replace(SPEC, services=(ServiceSpec(name="web", endpoints=("server-a", "server-b")),))
    topology = resolve(spec, 2)
    view = topology.lane(2)

    assert (topology.nodes, topology.hosts) == (view.nodes, view.hosts)
    assert (
        {2} == {pod.lane for pod in view.pods} == {endpoint.lane for endpoint in view.services[0].endpoints}
    )
    assert view.target("web") is view.services[0]
    assert view.lane(2) == view


def test_a_name_that_several_lanes_have_is_not_answered_with_one_of_them() -> None:
    topology = resolve(replace(SPEC, services=(ServiceSpec(name="web", endpoints=("server-a",)),)), 2)

    assert topology.member("outside").name == "outside"
    with pytest.raises(LookupError, match="pod 'client' is in 2 lanes"):
        topology.member("client")
    with pytest.raises(LookupError, match="service 'web' is in 2 lanes"):
        topology.target("web")
    with pytest.raises(LookupError, match="no lane 3: the topology has lanes 1 to 2"):
        topology.lane(3)


@pytest.mark.parametrize(
    ("change", "lanes", "message"),
    [
        ({}, 0, "1 to 16 lanes, not 0"),
        ({}, LANES_MAX + 1, "1 to 16 lanes, not 17"),
        (
            {"pods_supernet": IPv4Network("10.1.0.0/21")},
            5,
            "8 subnets of /24, but 2 nodes in 5 lanes need 10",
        ),
        (
            {"pods_supernet6": IPv6Network("fd00::/61"), "underlay6": IPv6Network("fd01::/64")},
            5,
            "fewer lanes",
        ),
        (
            {"services": tuple(ServiceSpec(name=f"s{n}", endpoints=("server-a",)) for n in range(15))},
            1,
            "15 services, but a lane has 14 virtual addresses",
        ),
    ],
)
def test_too_much_for_the_addresses_is_refused(change: dict[str, object], lanes: int, message: str) -> None:
    with pytest.raises(TopologyError, match=message):
        resolve(replace(SPEC, **change), lanes)  # type: ignore[arg-type]  # as above
