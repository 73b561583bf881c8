"""The config dump, against what istioctl reads and against a real ztunnel's (P54)."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from proxy.admin import dump
from proxy.config import Settings
from proxy.identity.identities import Standing
from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.state.document import parse
from proxy.state.mesh import MeshState
from proxy.telemetry import ConnectionRecord, Direction
from proxy.tests.ca import Ca
from proxy.tests.listeners.cluster import PORT, cluster
from proxy.tests.listeners.talk import echo, greeted
from proxy.tests.mesh import service, workload
from proxy.tests.sockets import PATIENCE_S, run
from proxy.tests.ztunnel import CLIENT, Ztunnel, talking, ztunnel

POD = PodInfo(uid="uid-1", name="client", namespace="bench", service_account="client")
MESH: dict[str, Any] = {
    "workloads": [
        {
            "uid": "Kubernetes//Pod/bench/client",
            "name": "client",
            "namespace": "bench",
            "serviceAccount": "client",
            "trustDomain": "cluster.local",
            "workloadIps": [CLIENT],
            "protocol": "HBONE",
            "node": "node-a",
            "workloadName": "client",
            "workloadType": "deployment",
            "canonicalName": "client",
            "canonicalRevision": "v1",
            "clusterId": "Kubernetes",
            "locality": {"region": "r1", "zone": "z1", "subzone": ""},
            "authorizationPolicies": ["bench/selected"],
            "services": {},
        },
        {
            "uid": "Kubernetes//Pod/bench/server",
            "name": "server",
            "namespace": "bench",
            "serviceAccount": "server",
            "trustDomain": "cluster.local",
            "workloadIps": ["10.9.0.2", "fd00::2"],
            "protocol": "TCP",
            "networkMode": "Standard",
            "node": "b",
            "network": "n1",
            "status": "Unhealthy",
            "capacity": 3,
            "hostname": "server.local",
            "waypoint": {"destination": "n1/10.9.9.9", "hboneMtlsPort": 15008},
            "services": {"bench/web.bench": {"80": 8080}, "bench/gone.bench": {"81": 8081}},
        },
    ],
    "services": [
        {
            "name": "web",
            "namespace": "bench",
            "hostname": "web.bench",
            "vips": ["/10.96.0.1", "n1/fd00::96"],
            "ports": {"80": 8080, "443": 0},
            "subjectAltNames": ["spiffe://cluster.local/ns/bench/sa/web"],
            "canonical": True,
            "loadBalancer": {
                "mode": "Failover",
                "routingPreferences": ["Zone", "Node"],
                "healthPolicy": "AllowAll",
            },
        },
        {"name": "plain", "namespace": "bench", "hostname": "plain.bench", "vips": [], "ports": {"1": 2}},
    ],
    "policies": [
        {
            "name": "selected",
            "namespace": "bench",
            "scope": "WorkloadSelector",
            "action": "Deny",
            "dryRun": True,
            "rules": [
                [
                    [
                        {
                            "principals": [{"Exact": "cluster.local/ns/bench/sa/client"}],
                            "notNamespaces": [{"Prefix": "a"}, {"Suffix": "b"}],
                            "notPrincipals": [{"Presence": []}],
                            "serviceAccounts": [{"namespace": "bench", "serviceAccount": "client"}],
                            "sourceIps": ["10.0.0.0/8"],
                            "notDestinationPorts": [9999],
                        }
                    ]
                ]
            ],
        }
    ],
}


def dumped(**changes: Any) -> dict[str, Any]:
    """A dump, read back."""
    given: dict[str, Any] = {
        "settings": Settings(),
        "switches": {"reuse": "on"},
        "state": MeshState(),
        "certificates": (),
        "pods": (),
        "live": (),
    }
    text = "".join(dump.pieces(dump.Snapshot(**{**given, **changes})))
    return dict(json.loads(text))


def state_of(document: dict[str, Any]) -> MeshState:
    return parse(json.dumps(document).encode(), version=1)


def test_an_empty_proxy_has_every_section() -> None:
    found = dumped()

    assert (found["workloads"], found["services"], found["policies"]) == ([], [], [])
    assert (found["certificates"], found["workloadState"], found["stagedServices"]) == ([], {}, {})
    assert found["staticConfig"] == {"workloads": [], "services": [], "policies": []}


def test_a_mesh_is_shown_as_its_document_spells_it() -> None:
    """P54: what istioctl's structures name; policies come back as they were."""
    state = state_of(MESH)
    assert not state.rejections

    found = dumped(state=state)

    client, server = found["workloads"]
    assert client["workloadIps"] == [CLIENT]
    assert client["locality"] == {"region": "r1", "zone": "z1", "subzone": ""}
    assert server["waypoint"] == {"destination": "n1/10.9.9.9", "hboneMtlsPort": 15008}
    assert (server["status"], server["capacity"]) == ("Unhealthy", 3)
    web = found["services"][0]
    endpoint = {"workloadUid": server["uid"], "port": {"80": 8080}, "status": "Unhealthy"}
    assert web["endpoints"] == {server["uid"]: endpoint}
    assert web["loadBalancer"] == MESH["services"][0]["loadBalancer"]
    assert found["policies"] == MESH["policies"]
    assert list(found["stagedServices"]) == ["bench/gone.bench"]


def test_a_block_of_addresses_is_shown_as_ztunnel_shows_it() -> None:
    """P54."""
    wide = service("wide", "10.96.0.1", cidr_vips=(("n1", ip_network("10.97.0.0/16")),))

    (found,) = dumped(state=MeshState(services=[wide]))["services"]

    assert found["cidrVips"] == [{"network": "n1", "cidr": "10.97.0.0/16"}]


ISTIOCTL: dict[str, dict[str, type]] = {
    "workloads": {
        **dict.fromkeys(("uid", "protocol", "name", "namespace", "serviceAccount", "workloadName"), str),
        **dict.fromkeys(("workloadType", "canonicalName", "canonicalRevision", "clusterId", "node"), str),
        **dict.fromkeys(("trustDomain", "status"), str),
        "workloadIps": list,
        "locality": dict,
        "capacity": int,
        "authorizationPolicies": list,
    },
    "services": {
        **dict.fromkeys(("name", "namespace", "hostname", "visibility"), str),
        **dict.fromkeys(("vips", "subjectAltNames"), list),
        **dict.fromkeys(("ports", "endpoints", "loadBalancer"), dict),
        "canonical": bool,
    },
    "policies": {**dict.fromkeys(("name", "namespace", "scope", "action"), str), "rules": list},
}
"""What istioctl's Go structures name and which kind they take; another kind fails the whole command.

Source: istio istioctl/pkg/writer/ztunnel/configdump/api.go.
"""


@pytest.mark.parametrize("section", list(ISTIOCTL))
def test_istioctls_reader_finds_what_it_names(section: str) -> None:
    """P54: of a resource that has everything."""
    row = dumped(state=state_of(MESH))[section][0]

    assert {name: type(row[name]) for name in ISTIOCTL[section]} == ISTIOCTL[section]


def test_certificates_have_chains_roots_and_times_and_no_key() -> None:
    """P54: the serial is decimal, as istioctl takes it."""
    ca = Ca()
    identity = SpiffeId("cluster.local", "bench", "client")
    held = ca.certificate(identity)
    standings = [
        Standing(identity=identity, certificate=held, failure=None),
        Standing(identity=identity, certificate=None, failure="no CA"),
        Standing(identity=identity, certificate=None, failure=None),
    ]

    found = dumped(certificates=standings)["certificates"]

    assert [row["state"] for row in found] == ["Available", "Unavailable: no CA", "Initializing"]
    (leaf,), (root,) = found[0]["certChain"], found[0]["rootCerts"]
    assert int(leaf["serialNumber"], 10) == int(held.serial, 16)
    assert datetime.fromisoformat(leaf["validFrom"]) == datetime.fromtimestamp(held.not_before, UTC)
    assert datetime.fromisoformat(leaf["expirationTime"]) == datetime.fromtimestamp(held.not_after, UTC)
    assert x509.load_pem_x509_certificate(base64.b64decode(root["pem"])) == ca.root
    assert "PRIVATE" not in json.dumps(found)
    assert base64.b64encode(b"PRIVATE").decode()[:8] not in json.dumps(found)
    assert found[1]["certChain"] == found[1]["rootCerts"] == []


def test_pods_have_their_live_connections() -> None:
    """P54: as `istioctl ztunnel-config connections` lists them."""
    own = workload("client", CLIENT, namespace="bench")
    outbound = ConnectionRecord(
        direction=Direction.OUTBOUND,
        source_address=(ip_address(CLIENT), 40000),
        dialled=(ip_address("10.96.0.1"), 80),
        destination_address=(ip_address("fd00::2"), 15008),
        hbone_address="[fd00::2]:8080",
        source=own,
    )
    inbound = ConnectionRecord(
        direction=Direction.INBOUND,
        source_address=(ip_address("10.9.0.9"), 1),
        destination_address=(ip_address(CLIENT), 8080),
        destination=own,
        service=service("web", "10.96.0.1"),
    )
    pending = PodInfo(uid="uid-2", name="other", namespace="bench", service_account="other")

    found = dumped(pods=[(POD, True), (pending, False)], live=[outbound, inbound])["workloadState"]

    assert found["uid-1"]["connections"] == {
        "inbound": [
            {
                "src": "10.9.0.9:1",
                "originalDst": "web.ns.svc.cluster.local",
                "actualDst": f"{CLIENT}:8080",
                "protocol": "TCP",
            }
        ],
        "outbound": [
            {
                "src": f"{CLIENT}:40000",
                "originalDst": "10.96.0.1:80",
                "actualDst": "[fd00::2]:15008",
                "protocol": "HBONE",
            }
        ],
    }
    assert found["uid-1"]["info"] == {"name": "client", "namespace": "bench", "serviceAccount": "client"}
    assert (found["uid-1"]["state"], found["uid-2"]["state"]) == ("Up", "Pending")
    assert "connections" not in found["uid-2"]


@pytest.mark.netns
def test_a_connection_is_shown_on_both_sides_while_it_lives() -> None:
    """P54."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            sides = (c.client.telemetry, c.server.telemetry)
            with await c.dial("client", "server") as sock:
                await greeted(sock)
                near, far = ([dump._connection(record) for record in side.live] for side in sides)
                assert near[0]["src"] == "{}:{}".format(*sock.getsockname())
                assert far[0]["src"].startswith("10.99.0.1:")  # the tunnel's
                assert near[0]["originalDst"] == far[0]["actualDst"] == f"10.99.0.2:{PORT}"
                assert near[0]["actualDst"] == "10.99.0.2:15008"
            for node in (c.client, c.server):
                await c.records(node, 1)
                assert not node.telemetry.live

    run(test())


@pytest.mark.netns
def test_a_real_ztunnel_shows_the_same(tmp_path: Path) -> None:
    """P54: resources alike to the last value, the rest key by key."""

    async def real(made: Ztunnel) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while (await made.dump())["certificates"][0]["state"] != "Available":  # noqa: ASYNC110  its own
                await asyncio.sleep(0.05)
        with talking(made.pods[POD.name]):
            return await made.dump()

    async def test() -> None:
        async with ztunnel(tmp_path, MESH, [POD]) as made:
            theirs = await real(made)
        own = workload("client", CLIENT, namespace="bench")
        records = [
            ConnectionRecord(
                direction=direction,
                source_address=(ip_address(CLIENT), 1),
                destination_address=(ip_address(CLIENT), 2),
                **{side: own},  # type: ignore[arg-type]  # of a table
            )
            for direction, side in ((Direction.OUTBOUND, "source"), (Direction.INBOUND, "destination"))
        ]
        ours = dumped(
            settings=Settings(mesh_document=tmp_path / "mesh.json"),
            state=state_of(MESH),
            pods=[(POD, True)],
            live=records,
            certificates=[
                Standing(identity=own.identity, certificate=Ca().certificate(own.identity), failure=None)
            ],
        )

        assert ours.keys() - theirs.keys() == {"pyztunnel"}
        assert theirs.keys() <= ours.keys()
        assert ours["policies"] == theirs["policies"]
        assert by(ours["services"], "hostname") == by(theirs["services"], "hostname")
        # One that reads a file does not show which services a workload has.
        assert by(ours["workloads"], "uid", without="services") == by(theirs["workloads"], "uid")
        assert ours["stagedServices"] == theirs["stagedServices"]
        for section in ("policies", "workloads", "services"):
            key = {"policies": "name", "workloads": "uid", "services": "hostname"}[section]
            assert by(ours["staticConfig"][section], key) == by(theirs["staticConfig"][section], key)
        assert shape(ours["certificates"]) == shape(theirs["certificates"])
        assert shape(ours["workloadState"]) == shape(theirs["workloadState"])
        for connections in (each["workloadState"]["uid-1"]["connections"] for each in (ours, theirs)):
            assert {side: len(found) for side, found in connections.items()} == {"inbound": 1, "outbound": 1}
        assert theirs["version"].keys() - ours["version"].keys() == {"rustVersion"}
        named = set(dump.CONFIG.values())
        assert named <= theirs["config"].keys() & ours["config"].keys()

    run(test())


def by(rows: list[dict[str, Any]], key: str, *, without: str = "") -> dict[str, dict[str, Any]]:
    """Resources by name."""
    return {row[key]: {name: value for name, value in row.items() if name != without} for row in rows}


def shape(value: Any) -> Any:
    """Keys and kinds, without values."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value]
        case None:
            return "str"
        case _:
            return type(value).__name__
