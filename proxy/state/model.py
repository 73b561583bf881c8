"""Workloads and services, as the proxy sees them. Pure values, named as ztunnel names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from proxy.identity.spiffe import SpiffeId

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
SocketAddress = tuple[IPAddress, int]
"""An address and a port."""


def authority(target: SocketAddress) -> str:
    """An address and port as a CONNECT names them: IPv6 in brackets."""
    address, port = target
    return f"{address!s}:{port}" if address.version == 4 else f"[{address!s}]:{port}"


class Protocol(StrEnum):
    """How a workload is reached."""

    HBONE = "HBONE"
    TCP = "TCP"


class Health(StrEnum):
    """Whether a workload may be chosen for a service."""

    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"


class NetworkMode(StrEnum):
    """Whether a workload's addresses are its own or shared with its node."""

    STANDARD = "Standard"
    HOST_NETWORK = "HostNetwork"


class BalancerMode(StrEnum):
    """What the ranking of a service's endpoints decides."""

    STANDARD = "Standard"
    STRICT = "Strict"
    FAILOVER = "Failover"
    PASSTHROUGH = "Passthrough"


class BalancerScope(StrEnum):
    """What two workloads may have in common."""

    REGION = "Region"
    ZONE = "Zone"
    SUBZONE = "Subzone"
    NODE = "Node"
    CLUSTER = "Cluster"
    NETWORK = "Network"


class Visibility(StrEnum):
    """Who may address a service."""

    PUBLIC = "Public"
    NAMESPACE = "Namespace"
    """Workloads of its own namespace."""


class IpFamilies(StrEnum):
    """Which of an endpoint's addresses a service may use."""

    DUAL = "Dual"
    IPV4 = "IPv4"
    IPV6 = "IPv6"


class HealthPolicy(StrEnum):
    """Whether unhealthy endpoints may be chosen."""

    ONLY_HEALTHY = "OnlyHealthy"
    ALLOW_ALL = "AllowAll"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """How an endpoint is chosen."""

    mode: BalancerMode = BalancerMode.STANDARD
    preferences: tuple[BalancerScope, ...] = ()
    health: HealthPolicy = HealthPolicy.ONLY_HEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class Locality:
    """Where a workload runs."""

    region: str = ""
    zone: str = ""
    subzone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where a waypoint or a network gateway is reached: recognised, never used."""

    destination: str
    port: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Workload:
    """A workload: an identity with addresses.

    Compared and hashed by object; one that has not changed is the same in the next snapshot.
    """

    uid: str
    name: str
    namespace: str
    service_account: str
    """Empty for workloads without HBONE that have no identity, such as a ServiceEntry's endpoints."""
    trust_domain: str
    addresses: tuple[IPAddress, ...]
    protocol: Protocol
    node: str
    network: str = ""
    network_mode: NetworkMode = NetworkMode.STANDARD
    cluster: str = ""
    workload_name: str = ""
    workload_type: str = ""
    canonical_name: str = ""
    canonical_revision: str = ""
    hostname: str = ""
    locality: Locality = field(default_factory=Locality)
    status: Health = Health.HEALTHY
    capacity: int = 1
    services: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """`namespace/hostname` -> service port -> port of this workload."""
    authorization_policies: tuple[str, ...] = ()
    """Policies (`namespace/name`) that select this workload."""
    waypoint: Gateway | None = None
    network_gateway: Gateway | None = None

    @property
    def key(self) -> str:
        """By which documents know it."""
        return self.uid

    @property
    def precedence(self) -> tuple[bool, bool, str]:
        """The smallest has an address that several workloads claim.

        A pod comes first, as nobody but the API server makes one, then a member of the mesh; at last the
        uid decides, so that the order of the document does not.
        Source: ztunnel state/workload.rs WorkloadByAddr.
        """
        return not names_a_pod(self.uid), self.protocol is not Protocol.HBONE, self.uid

    @cached_property
    def identity(self) -> SpiffeId:
        """The identity its proxy presents and its peers expect.

        Raises:
            InvalidSpiffeId: It has no service account; HBONE workloads have one.
        """
        return SpiffeId(self.trust_domain, self.namespace, self.service_account)

    @cached_property
    def identity_text(self) -> str:
        """`identity`, written."""
        return str(self.identity)

    @cached_property
    def own_identity(self) -> frozenset[str]:
        """`identity_text` alone: what its peers expect where its trust domain has one name."""
        return frozenset((self.identity_text,))


def names_a_pod(uid: str) -> bool:
    """Whether a workload's uid is a pod's, and not a WorkloadEntry's or a ServiceEntry's."""
    return "//Pod/" in uid


@dataclass(frozen=True, kw_only=True, eq=False)
class Service:
    """A service: a name with virtual addresses in front of workloads."""

    name: str
    namespace: str
    hostname: str
    vips: tuple[tuple[str, IPAddress], ...]
    """(network, address) pairs."""
    cidr_vips: tuple[tuple[str, IPNetwork], ...] = ()
    ports: Mapping[int, int]
    """Service port -> target port; 0 where each endpoint says its own."""
    subject_alt_names: tuple[str, ...] = ()
    canonical: bool = False
    visibility: Visibility = Visibility.PUBLIC
    families: IpFamilies = IpFamilies.DUAL
    waypoint: Gateway | None = None
    balancer: LoadBalancer = field(default_factory=LoadBalancer)

    @property
    def key(self) -> str:
        """The name by which workloads refer to it: `namespace/hostname`."""
        return f"{self.namespace}/{self.hostname}"

    def visible_to(self, namespace: str) -> bool:
        """Whether workloads of a namespace may address it."""
        return self.visibility is Visibility.PUBLIC or self.namespace == namespace

    def uses(self, address: IPAddress) -> bool:
        """Whether it may be reached at an endpoint's address of that family."""
        return self.families in (IpFamilies.DUAL, _FAMILIES[address.version])


_FAMILIES = {4: IpFamilies.IPV4, 6: IpFamilies.IPV6}
