"""The order of decisions, one row per case."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from proxy.config import SameNode
from proxy.routing import Hbone, Plaintext, Refuse, RefuseReason, Route, route
from proxy.state.mesh import MeshState, Unusable
from proxy.state.model import (
    BalancerMode,
    BalancerScope,
    Gateway,
    Health,
    HealthPolicy,
    LoadBalancer,
    Locality,
    Protocol,
    Service,
    Workload,
)
from proxy.tests.mesh import service, workload

CLIENT = workload("client", "10.0.1.2")
GATEWAY = Gateway(destination="'ns/waypoint'", port=15008)
KEY = "ns/web.ns.svc.cluster.local"


def go(
    state: MeshState,
    target: str,
    port: int,
    *,
    source: Workload = CLIENT,
    same_node: SameNode = SameNode.HBONE,
) -> Route:
    return route(state, source, (ip_address(target), port), random=Random(7), same_node=same_node)


def endpoint(name: str, address: str, ports: dict[int, int] | None = None, **changes: Any) -> Workload:
    return workload(name, address, services={KEY: {80: 8080} if ports is None else ports}, **changes)


def web(**changes: Any) -> Service:
    return service("web", "10.96.0.1", **changes)


def test_a_workload_with_hbone_is_tunnelled() -> None:
    server = workload("server", "10.0.2.2", node="node-b")

    assert go(MeshState(workloads=[server]), "10.0.2.2", 8080) == Hbone(
        gateway=(ip_address("10.0.2.2"), 15008),
        authority="10.0.2.2:8080",
        expected_ids=frozenset({"spiffe://cluster.local/ns/ns/sa/server"}),
        workload=server,
        service=None,
    )


def test_an_ipv6_authority_is_in_brackets() -> None:
    found = go(MeshState(workloads=[workload("server", "fd00::2")]), "fd00::2", 8080)

    assert isinstance(found, Hbone)
    assert found.authority == "[fd00::2]:8080"


def test_a_workload_without_hbone_is_reached_in_plaintext() -> None:
    server = workload("server", "10.0.2.2", protocol=Protocol.TCP)

    expected = Plaintext(address=(ip_address("10.0.2.2"), 8080), workload=server, service=None)
    assert go(MeshState(workloads=[server]), "10.0.2.2", 8080) == expected


def test_what_is_not_of_the_mesh_passes_to_where_it_was_going() -> None:
    expected = Plaintext(address=(ip_address("192.0.2.1"), 443), workload=None, service=None)

    assert go(MeshState(workloads=[CLIENT]), "192.0.2.1", 443) == expected


@pytest.mark.parametrize(
    ("node", "switch", "local"),
    [
        ("node-a", SameNode.HBONE, None),
        ("node-a", SameNode.PLAINTEXT, True),
        ("node-b", SameNode.PLAINTEXT, None),
        ("", SameNode.PLAINTEXT, None),
    ],
)
def test_same_node_switch(node: str, switch: SameNode, local: bool | None) -> None:
    server = workload("server", "10.0.1.3", node=node)

    found = go(MeshState(workloads=[server]), "10.0.1.3", 80, same_node=switch)

    assert (found.local if isinstance(found, Plaintext) else None) is local


@pytest.mark.parametrize("target", ["127.0.0.1", "::1", "10.0.1.2"])
@pytest.mark.parametrize("port", [15001, 15006, 15008])
def test_a_call_of_the_proxys_own_ports_is_refused(target: str, port: int) -> None:
    """T52, I7."""
    found = go(MeshState(workloads=[CLIENT]), target, port)

    assert isinstance(found, Refuse)
    assert found.reason is RefuseReason.SELF_CALL


@pytest.mark.parametrize(
    ("state", "target", "reason"),
    [
        (
            MeshState(workloads=[workload("w", "10.0.2.2", waypoint=GATEWAY)]),
            "10.0.2.2",
            RefuseReason.WAYPOINT_UNSUPPORTED,
        ),
        (
            MeshState(workloads=[endpoint("w", "10.0.2.2")], services=[web(waypoint=GATEWAY)]),
            "10.96.0.1",
            RefuseReason.WAYPOINT_UNSUPPORTED,
        ),
        (
            MeshState(workloads=[endpoint("w", "10.0.2.2", network="far")], services=[web()]),
            "10.96.0.1",
            RefuseReason.GATEWAY_UNSUPPORTED,
        ),
        (
            MeshState(
                workloads=[endpoint("w", "", network="far", network_gateway=GATEWAY)], services=[web()]
            ),
            "10.96.0.1",
            RefuseReason.GATEWAY_UNSUPPORTED,
        ),
        (MeshState(services=[web()]), "10.96.0.1", RefuseReason.NO_HEALTHY_UPSTREAM),
        (
            MeshState(workloads=[endpoint("w", "")], services=[web()]),
            "10.96.0.1",
            RefuseReason.NO_HEALTHY_UPSTREAM,
        ),
        (
            MeshState(workloads=[endpoint("w", "10.0.2.2", status=Health.UNHEALTHY)], services=[web()]),
            "10.96.0.1",
            RefuseReason.NO_HEALTHY_UPSTREAM,
        ),
        (
            MeshState(workloads=[endpoint("w", "10.0.2.2", capacity=0)], services=[web()]),
            "10.96.0.1",
            RefuseReason.NO_HEALTHY_UPSTREAM,
        ),
        (
            MeshState(workloads=[endpoint("w", "10.0.2.2", {})], services=[web(ports={80: 0})]),
            "10.96.0.1",
            RefuseReason.NO_HEALTHY_UPSTREAM,
        ),
        (
            MeshState(workloads=[endpoint("w", "10.0.2.2")], services=[web(ports={81: 8080})]),
            "10.96.0.1",
            RefuseReason.NO_HEALTHY_UPSTREAM,
        ),
        (
            MeshState(unusable={("", ip_address("10.0.2.9")): Unusable(reason="workloads[0]: protocol")}),
            "10.0.2.9",
            RefuseReason.REJECTED_RESOURCE,
        ),
    ],
)
def test_refusals_are_never_sent_elsewhere(state: MeshState, target: str, reason: RefuseReason) -> None:
    """I1: what cannot be served is refused, not passed on in plaintext."""
    found = go(state, target, 80)

    assert isinstance(found, Refuse)
    assert found.reason is reason


def test_a_service_of_passthrough_mode_goes_where_it_was_going() -> None:
    passing = web(balancer=LoadBalancer(mode=BalancerMode.PASSTHROUGH))

    found = go(MeshState(workloads=[endpoint("w", "10.0.2.2")], services=[passing]), "10.96.0.1", 80)

    assert found == Plaintext(address=(ip_address("10.96.0.1"), 80), workload=None, service=passing)


@pytest.mark.parametrize(
    ("endpoint_ports", "service_port", "expected"),
    [({80: 9999}, 8080, 9999), ({}, 8080, 8080), ({80: 9999}, 0, 9999), ({80: 0}, 8080, 8080)],
)
def test_target_port_is_the_endpoints_then_the_services(
    endpoint_ports: dict[int, int], service_port: int, expected: int
) -> None:
    one = endpoint("w", "10.0.2.2", endpoint_ports)
    found = go(MeshState(workloads=[one], services=[web(ports={80: service_port})]), "10.96.0.1", 80)

    assert isinstance(found, Hbone)
    assert found.authority == f"10.0.2.2:{expected}"


def test_a_services_alternative_names_are_expected_too() -> None:
    named = web(subject_alt_names=("spiffe://cluster.local/ns/ns/sa/alias",))
    found = go(MeshState(workloads=[endpoint("w", "10.0.2.2")], services=[named]), "10.96.0.1", 80)

    assert isinstance(found, Hbone)
    assert found.expected_ids == {
        "spiffe://cluster.local/ns/ns/sa/w",
        "spiffe://cluster.local/ns/ns/sa/alias",
    }


def test_the_endpoints_address_is_of_the_family_that_was_dialled() -> None:
    dual = endpoint("w", "", addresses=(ip_address("10.0.2.2"), ip_address("fd00::2")))
    both = web(vips=(("", ip_address("10.96.0.1")), ("", ip_address("fd00:96::1"))))
    state = MeshState(workloads=[dual], services=[both])

    found = [go(state, target, 80) for target in ("10.96.0.1", "fd00:96::1")]

    assert [route.authority for route in found if isinstance(route, Hbone)] == [
        "10.0.2.2:8080",
        "[fd00::2]:8080",
    ]


def test_choice_is_weighted_by_capacity_and_repeatable() -> None:
    state = MeshState(
        workloads=[
            endpoint("one", "10.0.2.1", capacity=1),
            endpoint("three", "10.0.2.3", capacity=3),
            endpoint("none", "10.0.2.4", capacity=0),
        ],
        services=[web()],
    )

    def names(seed: int) -> list[str]:
        random = Random(seed)
        routes = [
            route(state, CLIENT, (ip_address("10.96.0.1"), 80), random=random, same_node=SameNode.HBONE)
            for _ in range(4000)
        ]
        return [found.workload.name for found in routes if isinstance(found, Hbone)]

    shares = Counter(names(1))
    assert names(1) == names(1)
    assert shares["none"] == 0
    assert 0.22 < shares["one"] / 4000 < 0.28


NEAR = Locality(region="r1", zone="z1")
FAR = Locality(region="r1", zone="z2")
SCOPES = (BalancerScope.REGION, BalancerScope.ZONE, BalancerScope.NODE)


@pytest.mark.parametrize(
    ("mode", "health", "expected"),
    [
        (BalancerMode.STANDARD, HealthPolicy.ONLY_HEALTHY, {"far", "zone", "zone2"}),
        (BalancerMode.FAILOVER, HealthPolicy.ONLY_HEALTHY, {"zone", "zone2"}),
        (BalancerMode.STRICT, HealthPolicy.ONLY_HEALTHY, set()),
        (BalancerMode.FAILOVER, HealthPolicy.ALLOW_ALL, {"same"}),
        (BalancerMode.STRICT, HealthPolicy.ALLOW_ALL, {"same"}),
    ],
)
def test_ranking(mode: BalancerMode, health: HealthPolicy, expected: set[str]) -> None:
    client = workload("client", "10.0.1.2", locality=NEAR)
    state = MeshState(
        workloads=[
            endpoint("far", "10.0.2.1", locality=FAR, node="node-b"),
            endpoint("zone", "10.0.2.2", locality=NEAR, node="node-b"),
            endpoint("zone2", "10.0.2.3", locality=NEAR, node="node-c"),
            endpoint("same", "10.0.2.4", locality=NEAR, node="node-a", status=Health.UNHEALTHY),
        ],
        services=[web(balancer=LoadBalancer(mode=mode, preferences=SCOPES, health=health))],
    )
    random = Random(3)

    routes = [
        route(state, client, (ip_address("10.96.0.1"), 80), random=random, same_node=SameNode.HBONE)
        for _ in range(200)
    ]

    assert {found.workload.name for found in routes if isinstance(found, Hbone)} == expected
