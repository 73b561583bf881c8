"""What should exist: nodes, pods, hosts, their identities and addresses. Pure values.

`TopologySpec` is what the suite says; `resolve` (in `allocator`) turns it into a `Topology`
with every address fixed, laid out once per lane. Nodes and hosts are shared by all lanes; a lane's pods and
services are its own and have the same names in each lane. Namespace names are the members' names: a node's is
`node-<name>`, a pod's `pod-<lane>-<name>`, a host's `host-<name>`, the underlay's `underlay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

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

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class IpFamily(StrEnum):
    """Which protocol carries a connection. Every testbed has IPv4; one that is dual-stack has both."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


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
    ipv6: bool = True
    """Whether it has IPv6 where the topology does; without, its namespace has IPv6 switched off."""
    backend: bool = True
    """Whether it runs the backend; a client never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """A host on the underlay, outside the mesh; it runs the backend."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service as written: a virtual address that stands for pods."""

    name: str
    endpoints: tuple[str, ...]
    """Names of pods that run the backend."""


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
    underlay6: IPv6Network | None = None
    """With `pods_supernet6` it makes the topology dual-stack; both or neither are there."""
    pods_supernet6: IPv6Network | None = None
    services: tuple[ServiceSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node with its addresses. `address` is on the underlay, `gateway` is what its pods route to."""

    name: str
    address: IPv4Address
    pod_subnets: tuple[IPv4Network, ...]
    """Where its pods are: one subnet per lane, the first lane's first."""
    gateway: IPv4Address
    address6: IPv6Address | None = None
    pod_subnets6: tuple[IPv6Network, ...] = ()
    gateway6: IPv6Address | None = None

    @property
    def netns(self) -> str:
        """The node's network namespace."""
        return f"node-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod with its address and identity."""

    name: str
    """Unique within its lane."""
    node: str
    address: IPv4Address
    namespace: str
    service_account: str
    captured: bool
    client: bool
    address6: IPv6Address | None = None
    backend: bool = True
    lane: int = 1

    @property
    def netns(self) -> str:
        """The pod's network namespace."""
        return f"pod-{self.lane}-{self.name}"

    @property
    def answers(self) -> bool:
        """Whether requests to it are answered: it runs the backend and no load."""
        return self.backend and not self.client

    @property
    def uid(self) -> str:
        """The workload's uid, as Istio forms it: cluster//Pod/namespace/name."""
        return f"Kubernetes//Pod/{self.namespace}/{self.name}"

    @property
    def spiffe_id(self) -> str:
        """The workload's identity."""
        return f"spiffe://{TRUST_DOMAIN}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def families(self) -> tuple[IpFamily, ...]:
        """The families that it has an address of."""
        return _families(self.address6)

    def address_of(self, family: IpFamily) -> IPAddress:
        """Its address of a family (LookupError when it has none)."""
        return _of(family, self.name, self.address, self.address6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host outside the mesh with its underlay address."""

    name: str
    address: IPv4Address
    address6: IPv6Address | None = None

    @property
    def netns(self) -> str:
        """The host's network namespace."""
        return f"host-{self.name}"

    @property
    def families(self) -> tuple[IpFamily, ...]:
        """The families that it has an address of."""
        return _families(self.address6)

    def address_of(self, family: IpFamily) -> IPAddress:
        """Its address of a family (LookupError when it has none)."""
        return _of(family, self.name, self.address, self.address6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service with its virtual address, which nobody has and only a proxy resolves."""

    name: str
    address: IPv4Address
    endpoints: tuple[Pod, ...]

    @property
    def namespace(self) -> str:
        """That of its endpoints."""
        return self.endpoints[0].namespace

    @property
    def lane(self) -> int:
        """That of its endpoints."""
        return self.endpoints[0].lane

    @property
    def hostname(self) -> str:
        """Its name in the mesh."""
        return f"{self.name}.{self.namespace}.svc.{TRUST_DOMAIN}"

    @property
    def key(self) -> str:
        """Under which a workload says that it is an endpoint."""
        return f"{self.namespace}/{self.hostname}"

    def address_of(self, family: IpFamily) -> IPAddress:
        """Its address of a family (LookupError when it has none)."""
        return _of(family, self.name, self.address, None)


def _families(address6: IPv6Address | None) -> tuple[IpFamily, ...]:
    return (IpFamily.IPV4,) if address6 is None else (IpFamily.IPV4, IpFamily.IPV6)


def _of(family: IpFamily, name: str, address: IPv4Address, address6: IPv6Address | None) -> IPAddress:
    if family is IpFamily.IPV4:
        return address
    if address6 is None:
        raise LookupError(f"{name} has no IPv6 address")
    return address6


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything that should exist, every address fixed and unique."""

    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    hosts: tuple[Host, ...]
    policies: tuple[PolicySpec, ...]
    underlay: IPv4Network
    underlay_prefix: int
    underlay6: IPv6Network | None = None
    services: tuple[Service, ...] = ()
    lanes: int = 1
    """How many lanes its nodes carry; of a lane's view, too."""

    @property
    def ipv6(self) -> bool:
        """Whether it is dual-stack."""
        return self.underlay6 is not None

    def lane(self, number: int) -> Topology:
        """One lane's view: its pods and services with the nodes, hosts and policies that all lanes share.

        Raises:
            LookupError: There is no such lane.
        """
        if not 1 <= number <= self.lanes:
            raise LookupError(f"there is no lane {number}: the topology has lanes 1 to {self.lanes}")
        return replace(
            self,
            pods=tuple(pod for pod in self.pods if pod.lane == number),
            services=tuple(service for service in self.services if service.lane == number),
        )

    def lane_network(self, number: int) -> IPv4Network:
        """The one prefix that holds a lane's pods on all nodes, and no other lane's."""
        return _spanning([node.pod_subnets[number - 1] for node in self.nodes])

    def lane_network6(self, number: int) -> IPv6Network | None:
        """The same for IPv6; None where there is none."""
        if not self.ipv6:
            return None
        return _spanning([node.pod_subnets6[number - 1] for node in self.nodes])

    def node(self, name: str) -> Node:
        """The node of that name (KeyError when there is none)."""
        return {node.name: node for node in self.nodes}[name]

    def member(self, name: str) -> Pod | Host:
        """The pod or host of that name (LookupError when there is none, or a pod in several lanes)."""
        members: tuple[Pod | Host, ...] = (*self.pods, *self.hosts)
        of_name = [member for member in members if member.name == name]
        if len(of_name) > 1:
            raise LookupError(f"pod {name!r} is in {len(of_name)} lanes: ask one lane's view, `lane(number)`")
        if not of_name:
            raise KeyError(name)
        return of_name[0]

    def target(self, name: str) -> Pod | Host | Service:
        """Whoever a path may lead to, found as by `member`: a pod, a host, or a service."""
        services = [service for service in self.services if service.name == name]
        if len(services) > 1:
            raise LookupError(f"service {name!r} is in {len(services)} lanes: ask one lane's view")
        return services[0] if services else self.member(name)

    def pods_on(self, node: str) -> tuple[Pod, ...]:
        """The node's pods, in the topology's order."""
        return tuple(pod for pod in self.pods if pod.node == node)


Network = TypeVar("Network", IPv4Network, IPv6Network)


def _spanning(networks: Sequence[Network]) -> Network:
    """The longest prefix that holds all of them."""
    widest = networks[0]
    while not all(network.subnet_of(widest) for network in networks):
        widest = widest.supernet()
    return widest
