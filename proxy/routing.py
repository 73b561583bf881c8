"""Where a connection goes. Pure: the mesh as it is, who asks, for what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from proxy.config import SameNode
from proxy.state.mesh import MeshState
from proxy.state.model import Service, SocketAddress, Workload

HBONE_PORT = 15008
"""Where a node proxy takes HBONE inside each pod. Istio's port."""
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
ILLEGAL_PORTS = frozenset({OUTBOUND_PORT, INBOUND_PORT, HBONE_PORT})
"""The proxy's own: no connection may be sent there on an app's behalf."""


class RefuseReason(StrEnum):
    """Why a connection goes nowhere."""

    SELF_CALL = "self call"
    NO_HEALTHY_UPSTREAM = "no healthy upstream"
    WAYPOINT_UNSUPPORTED = "waypoint unsupported"
    GATEWAY_UNSUPPORTED = "network gateway unsupported"
    REJECTED_RESOURCE = "rejected resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hbone:
    """Through a tunnel to the destination's node proxy."""

    gateway: SocketAddress
    """The pod's own address and port 15008."""
    authority: str
    """The CONNECT's target: the pod's address and the app's port."""
    expected_ids: frozenset[str]
    """Identities of which the other side must prove one."""
    workload: Workload
    service: Service | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plaintext:
    """As it is, to a workload without HBONE, to a pod of this node where so switched, or out of the mesh."""

    address: SocketAddress
    workload: Workload | None
    service: Service | None
    local: bool = False
    """Whether HBONE was left out because both pods are on this node: the destination's policies
    must then be applied with the source's identity, which no TLS will tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Nowhere: the connection is reset."""

    reason: RefuseReason
    detail: str


Route = Hbone | Plaintext | Refuse


def route(
    state: MeshState, source: Workload, destination: SocketAddress, *, random: Random, same_node: SameNode
) -> Route:
    raise NotImplementedError
