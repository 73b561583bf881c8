"""A resolved topology as a JSON document, and back. What members read from `topology.json`.

Keys that end in 6 are there in a dual-stack topology alone.
"""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from harness.topology.allocator import TopologyError
from harness.topology.model import Host, Node, Pod, PolicySpec, Service, Topology


def to_json(topology: Topology) -> str:
    """The topology as JSON text, keys in a fixed order, ending in a newline."""
    document = {
        "lanes": topology.lanes,
        "underlay": str(topology.underlay),
        "underlay_prefix": topology.underlay_prefix,
        **_there(underlay6=topology.underlay6),
        "nodes": [
            {
                "name": node.name,
                "address": str(node.address),
                "pod_subnets": [str(subnet) for subnet in node.pod_subnets],
                "gateway": str(node.gateway),
                **_there(address6=node.address6, gateway6=node.gateway6),
                **({"pod_subnets6": [str(each) for each in node.pod_subnets6]} if node.pod_subnets6 else {}),
            }
            for node in topology.nodes
        ],
        "pods": [
            {
                "name": pod.name,
                "lane": pod.lane,
                "node": pod.node,
                "address": str(pod.address),
                "namespace": pod.namespace,
                "service_account": pod.service_account,
                "captured": pod.captured,
                "client": pod.client,
                "backend": pod.backend,
                **_there(address6=pod.address6),
            }
            for pod in topology.pods
        ],
        "hosts": [
            {"name": host.name, "address": str(host.address), **_there(address6=host.address6)}
            for host in topology.hosts
        ],
        **(
            {
                "services": [
                    {
                        "name": service.name,
                        "lane": service.lane,
                        "address": str(service.address),
                        "endpoints": [pod.name for pod in service.endpoints],
                    }
                    for service in topology.services
                ]
            }
            if topology.services
            else {}
        ),
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
        pods = tuple(_pod(entry) for entry in document["pods"])
        return Topology(
            nodes=tuple(_node(entry) for entry in document["nodes"]),
            pods=pods,
            services=tuple(_service(entry, pods) for entry in document.get("services", ())),
            hosts=tuple(
                Host(
                    name=entry["name"],
                    address=IPv4Address(entry["address"]),
                    address6=_address6(entry, "address6"),
                )
                for entry in document["hosts"]
            ),
            policies=tuple(
                PolicySpec(name=entry["name"], document=entry["document"]) for entry in document["policies"]
            ),
            underlay=IPv4Network(document["underlay"]),
            underlay_prefix=int(document["underlay_prefix"]),
            underlay6=IPv6Network(document["underlay6"]) if "underlay6" in document else None,
            lanes=int(document["lanes"]),
        )
    except KeyError as exc:
        raise TopologyError(f"topology document: key {exc} is missing") from exc
    except (TypeError, ValueError) as exc:
        raise TopologyError(f"topology document: {exc}") from exc


def _node(entry: dict[str, Any]) -> Node:
    return Node(
        name=entry["name"],
        address=IPv4Address(entry["address"]),
        pod_subnets=tuple(IPv4Network(subnet) for subnet in entry["pod_subnets"]),
        gateway=IPv4Address(entry["gateway"]),
        address6=_address6(entry, "address6"),
        pod_subnets6=tuple(IPv6Network(subnet) for subnet in entry.get("pod_subnets6", ())),
        gateway6=_address6(entry, "gateway6"),
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
        address6=_address6(entry, "address6"),
        backend=bool(entry["backend"]),
        lane=int(entry["lane"]),
    )


def _service(entry: dict[str, Any], pods: tuple[Pod, ...]) -> Service:
    known = {pod.name: pod for pod in pods if pod.lane == entry["lane"]}
    return Service(
        name=entry["name"],
        address=IPv4Address(entry["address"]),
        endpoints=tuple(known[name] for name in entry["endpoints"]),
    )


def _there(**values: IPv6Address | IPv6Network | None) -> dict[str, str]:
    return {key: str(value) for key, value in values.items() if value is not None}


def _address6(entry: dict[str, Any], key: str) -> IPv6Address | None:
    return IPv6Address(entry[key]) if key in entry else None
