"""A service: its address, its endpoints, what the mesh is told of it, and what a suite may not ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.controlplane.document import document
from harness.plan.model import Path, State
from harness.suite import SuiteError, load_suite
from harness.topology.allocator import SERVICES, TopologyError, resolve
from harness.topology.document import from_json, to_json
from harness.topology.model import APP_PORT, ServiceSpec, Topology

DATAPLANES = ("none", "pyztunnel", "envoy")


@pytest.fixture(scope="module")
def topology() -> Topology:
    return resolve(load_suite("service", dataplanes=DATAPLANES).topology)


def test_its_address_is_in_no_network_of_the_testbed(topology: Topology) -> None:
    (service,) = topology.services

    assert service.address in SERVICES
    assert service.address not in topology.underlay
    assert all(service.address not in subnet for node in topology.nodes for subnet in node.pod_subnets)


def test_its_three_endpoints_are_on_two_nodes(topology: Topology) -> None:
    (service,) = topology.services

    assert ["web-1", "web-2", "web-3"] == [pod.name for pod in service.endpoints]
    assert {pod.node for pod in service.endpoints} == {"a", "b"}
    assert topology.target("web") is service
    assert topology.target("server-remote") is topology.member("server-remote")


def test_a_topology_with_a_service_survives_saving(topology: Topology) -> None:
    assert from_json(to_json(topology)) == topology
    assert "services" not in to_json(replace(topology, services=()))


def test_the_mesh_is_told_of_the_service_and_of_who_serves_it(topology: Topology) -> None:
    said = document(topology)
    (service,) = topology.services

    assert {
        "name": "web",
        "namespace": "bench",
        "hostname": "web.bench.svc.cluster.local",
        "vips": [f"/{service.address}"],
        "ports": {str(APP_PORT): APP_PORT},
    } in said["services"]
    serving = {each["name"] for each in said["workloads"] if service.key in each["services"]}
    assert serving == {"web-1", "web-2", "web-3"}


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        (("nobody",), "endpoint 'nobody' is no captured pod with a backend"),
        (("client",), "endpoint 'client' is no captured pod with a backend"),
        (("uncaptured",), "endpoint 'uncaptured' is no captured pod with a backend"),
        (("web-1", "denied"), "pods of one namespace"),
        ((), "one or more pods"),
    ],
)
def test_a_service_that_cannot_be_is_refused(endpoints: tuple[str, ...], said: str) -> None:
    spec = load_suite("service", ["topology.pods.denied.backend=true"], dataplanes=DATAPLANES).topology

    with pytest.raises(TopologyError, match=said):
        resolve(replace(spec, services=(ServiceSpec(name="web", endpoints=endpoints),)))


def test_a_service_has_no_warm_state() -> None:
    """A new connection may meet an endpoint to which there is no tunnel yet."""
    suite = load_suite("service", dataplanes=DATAPLANES)

    of = [each for each in suite.configurations if each.path is Path.SERVICE]
    assert of
    assert all(each.tunnelled and each.states == (State.COLD, State.STEADY) for each in of)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("matrix[0].path=['service']", "resolves no service's address"),
        ("paths.service.to=server-remote", "unknown service 'server-remote'"),
        ("topology.services.web.endpoints=['web-9']", "web-9"),
        ("paths.cross-node.to=web", "unknown pod or host 'web'"),
    ],
)
def test_what_makes_no_sense_of_a_service_is_refused(override: str, said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        load_suite("service", [override], dataplanes=DATAPLANES)


def test_a_suite_without_services_is_what_it_was() -> None:
    suite: Any = load_suite("smoke", dataplanes=DATAPLANES).document()

    assert "services" not in suite["topology"]
