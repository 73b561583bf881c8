"""Who has an address or a name, by ztunnel's rules and whatever the order of the document."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import SameNode
from proxy.routing import Hbone, Plaintext, Refuse, route
from proxy.state.document import parse
from proxy.state.mesh import MeshState
from proxy.state.model import Visibility
from proxy.tests.mesh import service, workload
from proxy.tests.state.test_document import block

ASKER = workload("client", "10.0.0.1", namespace="a")
"""Of namespace a, on no address that a row is about."""


def claim(uid: str, protocol: str = "HBONE", **changes: Any) -> dict[str, Any]:
    """A workload that says that 10.0.0.5 is its own."""
    given: dict[str, Any] = {
        "uid": uid,
        "name": uid.rpartition("/")[2],
        "namespace": "b",
        "serviceAccount": "sa",
        "workloadIps": ["10.0.0.5"],
        "protocol": protocol,
    }
    return {**given, **changes}


def named(namespace: str, name: str, **changes: Any) -> dict[str, Any]:
    """A service; `at` is its endpoint."""
    given: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "hostname": f"{name}.example",
        "vips": [],
        "ports": {"80": 8080},
    }
    return {**given, **changes}


def at(address: str, *services: str) -> dict[str, Any]:
    return claim(
        f"c//Pod/b/at-{address}", workloadIps=[address], services={each: {"80": 8080} for each in services}
    )


POD, ENTRY = "c//Pod/b/pod", "c/networking.istio.io/WorkloadEntry/b/entry"
OTHER_ENTRY = "c/networking.istio.io/WorkloadEntry/b/other"
VIP = ["/10.0.0.5"]

TABLE: list[tuple[str, str, list[dict[str, Any]], list[dict[str, Any]], str]] = [
    # an address of several workloads
    ("a pod before a member of the mesh", "10.0.0.5", [claim(POD, "TCP"), claim(ENTRY)], [], "plain pod"),
    ("a pod before an entry in plaintext", "10.0.0.5", [claim(POD), claim(ENTRY, "TCP")], [], "hbone pod"),
    ("HBONE before TCP", "10.0.0.5", [claim(ENTRY, "TCP"), claim(OTHER_ENTRY)], [], "hbone other"),
    ("HBONE before TCP of pods", "10.0.0.5", [claim(POD, "TCP"), claim(POD + "2")], [], "hbone pod2"),
    ("the first uid of equals", "10.0.0.5", [claim(OTHER_ENTRY), claim(ENTRY)], [], "hbone entry"),
    (
        "another network's is no claim",
        "10.0.0.5",
        [claim(POD, network="far"), claim(ENTRY, "TCP")],
        [],
        "plain entry",
    ),
    (
        "an address of the node is no claim",
        "10.0.0.5",
        [claim(POD, networkMode="HostNetwork"), claim(ENTRY, "TCP")],
        [],
        "plain entry",
    ),
    # an address of a workload that was rejected
    (
        "a rejected pod before an entry",
        "10.0.0.5",
        [claim(POD, "QUIC"), claim(ENTRY)],
        [],
        "refused rejected resource",
    ),
    ("a pod before a rejected entry", "10.0.0.5", [claim(POD, "TCP"), claim(ENTRY, "QUIC")], [], "plain pod"),
    (
        "a rejected entry before one in plaintext",
        "10.0.0.5",
        [claim(ENTRY, "QUIC"), claim(OTHER_ENTRY, "TCP")],
        [],
        "refused rejected resource",
    ),
    (
        "a rejected workload on its node's address claims nothing",
        "10.0.0.5",
        [claim(POD, "QUIC", networkMode="HostNetwork")],
        [],
        "plain",
    ),
    # an address of a workload and of a service
    (
        "a service before a workload",
        "10.0.0.5",
        [claim(POD), at("10.0.0.6", "b/web.example")],
        [named("b", "web", vips=VIP)],
        "hbone at-10.0.0.6",
    ),
    (
        "a service without endpoints is not passed over",
        "10.0.0.5",
        [claim(POD)],
        [named("b", "web", vips=VIP)],
        "refused no healthy upstream",
    ),
    # an address of several services
    (
        "own namespace",
        "10.0.0.5",
        [at("10.0.0.6", "a/own.example"), at("10.0.0.7", "b/web.example")],
        [named("b", "web", vips=VIP, canonical=True), named("a", "own", vips=VIP)],
        "hbone at-10.0.0.6",
    ),
    (
        "canonical",
        "10.0.0.5",
        [at("10.0.0.6", "c/known.example"), at("10.0.0.7", "b/web.example")],
        [named("b", "web", vips=VIP), named("c", "known", vips=VIP, canonical=True)],
        "hbone at-10.0.0.6",
    ),
    (
        "the first key of equals",
        "10.0.0.5",
        [at("10.0.0.6", "b/web.example"), at("10.0.0.7", "c/web.example")],
        [named("c", "web", vips=VIP), named("b", "web", vips=VIP)],
        "hbone at-10.0.0.6",
    ),
    # services that not everybody sees
    (
        "visible in its own namespace",
        "10.0.0.5",
        [at("10.0.0.6", "a/web.example")],
        [named("a", "web", vips=VIP, visibility="Namespace")],
        "hbone at-10.0.0.6",
    ),
    (
        "invisible elsewhere",
        "10.0.0.5",
        [at("10.0.0.6", "b/web.example")],
        [named("b", "web", vips=VIP, visibility="Namespace", canonical=True)],
        "plain",
    ),
    (
        "an invisible one leaves the address to the next",
        "10.0.0.5",
        [at("10.0.0.6", "b/web.example"), at("10.0.0.7", "c/web.example")],
        [named("b", "web", vips=VIP, visibility="Namespace", canonical=True), named("c", "web", vips=VIP)],
        "hbone at-10.0.0.7",
    ),
    (
        "an invisible one leaves the address to a block",
        "10.0.0.5",
        [at("10.0.0.6", "b/web.example"), at("10.0.0.7", "c/web.example")],
        [
            named("b", "web", vips=VIP, visibility="Namespace"),
            named("c", "web", cidrVips=[block("10.0.0.0/24")]),
        ],
        "hbone at-10.0.0.7",
    ),
    # blocks of addresses
    (
        "own namespace before the narrower block",
        "10.0.0.5",
        [at("10.0.1.6", "a/own.example"), at("10.0.1.7", "b/web.example")],
        [
            named("b", "web", cidrVips=[block("10.0.0.0/28")]),
            named("a", "own", cidrVips=[block("10.0.0.0/24")]),
        ],
        "hbone at-10.0.1.6",
    ),
    (
        "the narrower block before canonical",
        "10.0.0.5",
        [at("10.0.1.6", "b/web.example"), at("10.0.1.7", "c/known.example")],
        [
            named("c", "known", cidrVips=[block("10.0.0.0/24")], canonical=True),
            named("b", "web", cidrVips=[block("10.0.0.0/28")]),
        ],
        "hbone at-10.0.1.6",
    ),
    (
        "canonical of blocks",
        "10.0.0.5",
        [at("10.0.1.6", "c/known.example"), at("10.0.1.7", "b/web.example")],
        [
            named("b", "web", cidrVips=[block("10.0.0.0/24")]),
            named("c", "known", cidrVips=[block("10.0.0.0/24")], canonical=True),
        ],
        "hbone at-10.0.1.6",
    ),
    (
        "an address before a block of its own namespace",
        "10.0.0.5",
        [at("10.0.1.6", "b/web.example"), at("10.0.1.7", "a/own.example")],
        [named("a", "own", cidrVips=[block("10.0.0.0/24")]), named("b", "web", vips=VIP)],
        "hbone at-10.0.1.6",
    ),
    (
        "an invisible block",
        "10.0.0.5",
        [at("10.0.1.6", "b/web.example")],
        [named("b", "web", cidrVips=[block("10.0.0.0/24")], visibility="Namespace")],
        "plain",
    ),
    (
        "a rejected service's block is refused",
        "10.0.0.5",
        [],
        [named("b", "web", cidrVips=[block("10.0.0.0/24")], ports="?")],
        "refused rejected resource",
    ),
    # families of addresses
    (
        "IPv6 alone, though IPv4 was dialled",
        "10.0.0.5",
        [{**at("10.0.0.6", "b/web.example"), "workloadIps": ["10.0.0.6", "fd00::6"]}],
        [named("b", "web", vips=VIP, ipFamilies="IPv6")],
        "hbone at-10.0.0.6 [fd00::6]:8080",
    ),
    (
        "IPv4 alone passes over an endpoint that has none",
        "10.0.0.5",
        [{**at("10.0.0.6", "b/web.example"), "workloadIps": ["fd00::6"]}],
        [named("b", "web", vips=VIP, ipFamilies="IPv4")],
        "refused no healthy upstream",
    ),
    (
        "either of both",
        "10.0.0.5",
        [{**at("10.0.0.6", "b/web.example"), "workloadIps": ["fd00::6", "10.0.0.6"]}],
        [named("b", "web", vips=VIP, ipFamilies="Dual")],
        "hbone at-10.0.0.6 10.0.0.6:8080",
    ),
    (
        "the endpoint that was dialled, though the service uses the other family",
        "10.0.0.5",
        [{**at("10.0.0.6", "b/web.example"), "workloadIps": ["fd00::6", "10.0.0.5"]}],
        [named("b", "web", vips=VIP, ipFamilies="IPv6")],
        "hbone at-10.0.0.6 10.0.0.5:8080",
    ),
]


def reached(state: MeshState, dialled: str) -> str:
    """How the asker's connection to port 80 ends, in words of the table."""
    found = route(state, ASKER, (ip_address(dialled), 80), random=Random(1), same_node=SameNode.HBONE)
    match found:
        case Hbone():
            return f"hbone {found.workload.name} {found.authority}"
        case Plaintext():
            return f"plain {found.workload.name}" if found.workload is not None else "plain"
        case Refuse():
            return f"refused {found.reason.value}"


@pytest.mark.parametrize(
    ("dialled", "workloads", "services", "expected"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
@given(order=st.randoms(use_true_random=False))
def test_addresses_are_ranked_as_ztunnel_ranks_them(
    dialled: str,
    workloads: list[dict[str, Any]],
    services: list[dict[str, Any]],
    expected: str,
    order: Random,
) -> None:
    """P03, P12, P26, P35, P52: the order of the document decides nothing."""
    document = {
        "workloads": order.sample(workloads, len(workloads)),
        "services": order.sample(services, len(services)),
    }

    found = reached(parse(json.dumps(document).encode(), version=1), dialled)

    assert f"{found} ".startswith(f"{expected} ")


@given(order=st.randoms(use_true_random=False))
def test_a_pod_is_looked_for_on_its_own_node(order: Random) -> None:
    """P17: another cluster of the mesh may have a pod of the same names."""
    namesakes = [
        workload("web-0", f"10.{number}.0.1", uid=f"{node}//Pod/ns/web-0", node=node)
        for number, node in enumerate(("n1", "n2", ""))
    ]
    state = MeshState(workloads=order.sample(namesakes, 3))
    who = {"namespace": "ns", "name": "web-0", "service_account": "web-0"}

    found = {node: state.workload_named(**who, node=node) for node in ("n1", "n2", "n3", "")}

    assert [found[node] for node in ("n1", "n2", "n3")] == [namesakes[0], namesakes[1], None]
    assert found[""] is namesakes[2]


@pytest.mark.parametrize(
    ("asker", "preferred", "expected"),
    [("b", "", "b"), ("x", "", "c"), ("x", "a", "c"), ("d", "", "d")],
)
@given(order=st.randoms(use_true_random=False))
def test_names_are_ranked_as_ztunnel_ranks_them(
    asker: str, preferred: str, expected: str, order: Random
) -> None:
    """P26: own namespace, canonical, preferred namespace, key; what is not visible is not there."""
    sharing = [
        service("web", "10.96.0.9", namespace=namespace, hostname="web.example", **changes)
        for namespace, changes in (
            ("a", {}),
            ("b", {}),
            ("c", {"canonical": True}),
            ("d", {"canonical": True, "visibility": Visibility.NAMESPACE}),
        )
    ]
    state = MeshState(services=order.sample(sharing, len(sharing)))

    found = state.service_named("Web.Example.", namespace=asker, preferred=preferred)

    assert found is not None
    assert found.namespace == expected


def test_the_preferred_namespace_comes_before_the_first_key() -> None:
    sharing = [service("web", "10.96.0.9", namespace=name, hostname="web") for name in ("a", "b")]
    state = MeshState(services=sharing)

    assert state.service_named("web", namespace="x", preferred="b") is sharing[1]
    assert state.service_named("web", namespace="x") is sharing[0]


def test_an_address_wins_over_blocks() -> None:
    wide = service("wide", "10.96.1.1", cidr_vips=(("", ip_network("10.96.0.0/16")),))
    narrow = service("narrow", "10.96.1.2", cidr_vips=(("", ip_network("10.96.7.0/24")),))
    state = MeshState(services=[wide, narrow])

    assert state.service_at(ip_address("10.96.7.7")) is narrow
    assert state.service_at(ip_address("10.96.8.8")) is wide
    assert state.service_at(ip_address("10.96.1.2")) is narrow
    assert state.service_at(ip_address("10.97.0.1")) is None
