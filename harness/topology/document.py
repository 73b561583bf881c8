"""A resolved topology as a JSON document, and back. What members read from `topology.json`."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from harness.topology.allocator import TopologyError
from harness.topology.model import Host, Node, Pod, PolicySpec, Topology


def to_json(topology: Topology) -> str:
    """The topology as JSON text, keys in a fixed order, ending in a newline."""
    document = {
        "underlay": str(topology.underlay),
        "underlay_prefix": topology.underlay_prefix,
        "nodes": [
            {
                "name": node.name,
                "address": str(node.address),
                "pod_subnet": str(node.pod_subnet),
                "gateway": str(node.gateway),
            }
            for node in topology.nodes
        ],
        "pods": [
            {
                "name": pod.name,
                "node": pod.node,
                "address": str(pod.address),
                "namespace": pod.namespace,
                "service_account": pod.service_account,
                "captured": pod.captured,
                "client": pod.client,
            }
            for pod in topology.pods
        ],
        "hosts": [{"name": host.name, "address": str(host.address)} for host in topology.hosts],
        "policies": [{"name": policy.name, "document": policy.document} for policy in topology.policies],
    }
    return json.dumps(document, indent=2) + "\n"


def from_json(text: str) -> Topology:
    """The topology that `to_json` wrote.

    Raises:
        TopologyError: The text is not such a document; the message names the entry at fault.
    """
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise TopologyError(f"topology document: not JSON: {exc}") from exc
    try:
        return Topology(
            nodes=tuple(_node(entry) for entry in document["nodes"]),
            pods=tuple(_pod(entry) for entry in document["pods"]),
            hosts=tuple(
                Host(name=entry["name"], address=IPv4Address(entry["address"])) for entry in document["hosts"]
            ),
            policies=tuple(
                PolicySpec(name=entry["name"], document=entry["document"]) for entry in document["policies"]
            ),
            underlay=IPv4Network(document["underlay"]),
            underlay_prefix=int(document["underlay_prefix"]),
        )
    except KeyError as exc:
        raise TopologyError(f"topology document: key {exc} is missing") from exc
    except (TypeError, ValueError) as exc:
        raise TopologyError(f"topology document: {exc}") from exc


def _node(entry: dict[str, Any]) -> Node:
    return Node(
        name=entry["name"],
        address=IPv4Address(entry["address"]),
        pod_subnet=IPv4Network(entry["pod_subnet"]),
        gateway=IPv4Address(entry["gateway"]),
    )


def _pod(entry: dict[str, Any]) -> Pod:
    return Pod(
        name=entry["name"],
        node=entry["node"],
        address=IPv4Address(entry["address"]),
        namespace=entry["namespace"],
        service_account=entry["service_account"],
        captured=bool(entry["captured"]),
        client=bool(entry["client"]),
    )
