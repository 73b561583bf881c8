"""What should exist: nodes, pods, hosts, their identities and addresses. Pure values.

`TopologySpec` is what the suite says; `resolve` (in `allocator`) turns it into a `Topology`
with every address fixed. Namespace names are the members' names: a node's is `node-<name>`,
a pod's `pod-<name>`, a host's `host-<name>`, the underlay's `underlay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

TRUST_DOMAIN = "cluster.local"
"""Istio's default trust domain."""

APP_PORT = 8080
"""HTTP, answered by nginx."""
ECHO_PORT = 9001
"""Sends back every byte, half-close included."""
SINK_PORT = 9002
"""Reads until end of stream, then answers with the count and SHA-256 of what it read."""
SOURCE_PORT = 9003
"""Reads one line `<bytes>\\n` (0: until the peer closes) and sends that many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node as written."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """A pod as written. `client` pods run the load processes, every other one the backend."""

    name: str
    node: str
    namespace: str = "bench"
    service_account: str = ""
    """Empty: the pod's own name."""
    captured: bool = True
    client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """A host on the underlay, outside the mesh; it runs the backend."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """An authorization policy in ztunnel's own shape (ztunnel's `policies[]`)."""

    name: str
    document: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySpec:
    """A topology as the suite says it."""

    nodes: tuple[NodeSpec, ...]
    pods: tuple[PodSpec, ...]
    hosts: tuple[HostSpec, ...]
    policies: tuple[PolicySpec, ...] = ()
    underlay: IPv4Network = IPv4Network("172.30.0.0/24")
    pods_supernet: IPv4Network = IPv4Network("10.244.0.0/16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node with its addresses. `address` is on the underlay, `gateway` is what its pods route to."""

    name: str
    address: IPv4Address
    pod_subnet: IPv4Network
    gateway: IPv4Address

    @property
    def netns(self) -> str:
        """The node's network namespace."""
        return f"node-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod with its address and identity."""

    name: str
    node: str
    address: IPv4Address
    namespace: str
    service_account: str
    captured: bool
    client: bool

    @property
    def netns(self) -> str:
        """The pod's network namespace."""
        return f"pod-{self.name}"

    @property
    def uid(self) -> str:
        """The workload's uid, as Istio forms it: cluster//Pod/namespace/name."""
        return f"Kubernetes//Pod/{self.namespace}/{self.name}"

    @property
    def spiffe_id(self) -> str:
        """The workload's identity."""
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host outside the mesh with its underlay address."""

    name: str
    address: IPv4Address

    @property
    def netns(self) -> str:
        """The host's network namespace."""
        return f"host-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything that should exist, every address fixed and unique."""

    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    hosts: tuple[Host, ...]
    policies: tuple[PolicySpec, ...]
    underlay: IPv4Network
    underlay_prefix: int

    def node(self, name: str) -> Node:
        """The node of that name (KeyError when there is none)."""
        return {node.name: node for node in self.nodes}[name]

    def member(self, name: str) -> Pod | Host:
        """The pod or host of that name (KeyError when there is none)."""
        members: dict[str, Pod | Host] = {pod.name: pod for pod in self.pods}
        members.update({host.name: host for host in self.hosts})
        return members[name]

    def pods_on(self, node: str) -> tuple[Pod, ...]:
        """The node's pods, in the topology's order."""
        return tuple(pod for pod in self.pods if pod.node == node)
