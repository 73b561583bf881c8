"""Where a connection goes. Pure: the mesh as it is, who asks, for what.

The order of decisions is ztunnel's (outbound.rs build_request). Waypoints and network gateways are
recognised and refused: traffic meant for them must not go past them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from proxy.config import SameNode
from proxy.net.address import unscoped
from proxy.state.mesh import Endpoint, MeshState
from proxy.state.model import (
    BalancerMode,
    BalancerScope,
    Health,
    HealthPolicy,
    IPAddress,
    IpFamilies,
    Protocol,
    Service,
    SocketAddress,
    Workload,
    authority,
)

HBONE_PORT = 15008
"""Where a node proxy takes HBONE inside each pod. Istio's port."""
OUTBOUND_PORT = 15001
"""Where it takes what apps send."""
INBOUND_PORT = 15006
"""Where it takes plaintext that is sent to apps."""
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
    state: MeshState,
    source: Workload,
    destination: SocketAddress,
    *,
    random: Random,
    same_node: SameNode,
) -> Route:
    """Decide on one connection.

    Args:
        state: The mesh.
        source: The workload whose app connects.
        destination: What it dialled.
        random: Chooses among endpoints.
        same_node: How pods of one node reach each other.

    Returns:
        A `Route`; what is not of the mesh is `Plaintext` to the address that was dialled.
    """
    address, port = destination
    if port in ILLEGAL_PORTS and (address.is_loopback or address in source.addresses):
        return Refuse(reason=RefuseReason.SELF_CALL, detail=f"the app called the proxy's own port {port}")
    address = unscoped(address)
    service = state.service_at(address, source.network, namespace=source.namespace)
    if service is not None:
        chosen = _to_service(state, source, service, destination, random)
        if isinstance(chosen, Endpoint):
            target = _target(service, chosen, destination)
            return _deliver(state, source, chosen.workload, target, service, same_node=same_node)
        return chosen
    workload = state.workload_at(address, source.network)
    if workload is not None:
        return _to_workload(state, source, workload, destination, same_node)
    unusable = state.unusable_at(address, source.network)
    if unusable is not None:
        return Refuse(reason=RefuseReason.REJECTED_RESOURCE, detail=unusable.reason)
    return Plaintext(address=destination, workload=None, service=None)


def _to_workload(
    state: MeshState, source: Workload, workload: Workload, destination: SocketAddress, same_node: SameNode
) -> Route:
    if workload.waypoint is not None:
        detail = f"workload {workload.uid} has waypoint {workload.waypoint.destination}"
        return Refuse(reason=RefuseReason.WAYPOINT_UNSUPPORTED, detail=detail)
    return _deliver(state, source, workload, destination, None, same_node=same_node)


def _to_service(
    state: MeshState,
    source: Workload,
    service: Service,
    destination: SocketAddress,
    random: Random,
) -> Endpoint | Plaintext | Refuse:
    """The endpoint of a service that is to get the connection, or what becomes of it otherwise."""
    port = destination[1]
    if service.waypoint is not None:
        detail = f"service {service.key} has waypoint {service.waypoint.destination}"
        return Refuse(reason=RefuseReason.WAYPOINT_UNSUPPORTED, detail=detail)
    if service.balancer.mode is BalancerMode.PASSTHROUGH:
        return Plaintext(address=destination, workload=None, service=service)
    endpoint = _choose(_candidates(state, source, service, destination), random)
    if endpoint is None:
        detail = f"service {service.key} has no endpoint for port {port}"
        return Refuse(reason=RefuseReason.NO_HEALTHY_UPSTREAM, detail=detail)
    workload = endpoint.workload
    if workload.network != source.network:
        detail = f"endpoint {workload.uid} is on network {workload.network!r}, not {source.network!r}"
        return Refuse(reason=RefuseReason.GATEWAY_UNSUPPORTED, detail=detail)
    return endpoint


def _target(service: Service, endpoint: Endpoint, dialled: SocketAddress) -> SocketAddress:
    """The endpoint's address, and its port, else the service's."""
    address, port = dialled
    chosen = _address(service, endpoint.workload, address)
    if chosen is None:
        raise LookupError(f"{endpoint.workload.uid} has no address for {service.key}, and was chosen")
    return chosen, endpoint.ports.get(port) or service.ports[port]


def _address(service: Service, workload: Workload, dialled: IPAddress) -> IPAddress | None:
    """The one that was dialled, else one that the service uses, of the family that was dialled if there is.

    Source: ztunnel state.rs pick_workload_destination_or_resolve.
    """
    if dialled in workload.addresses:
        return dialled
    first = None
    for address in workload.addresses:
        if service.uses(address):
            if address.version == dialled.version:
                return address
            first = first or address
    return first


def _deliver(
    state: MeshState,
    source: Workload,
    workload: Workload,
    target: SocketAddress,
    service: Service | None,
    *,
    same_node: SameNode,
) -> Route:
    if workload.protocol is Protocol.TCP:
        return Plaintext(address=target, workload=workload, service=service)
    if same_node is SameNode.PLAINTEXT and source.node and workload.node == source.node:
        return Plaintext(address=target, workload=workload, service=service, local=True)
    expected = state.identities_of(workload)
    if service is not None and service.subject_alt_names:
        expected = expected.union(service.subject_alt_names)
    return Hbone(
        gateway=(target[0], HBONE_PORT),
        authority=authority(target),
        expected_ids=expected,
        workload=workload,
        service=service,
    )


def _candidates(
    state: MeshState, source: Workload, service: Service, dialled: SocketAddress
) -> list[Endpoint]:
    """Endpoints that serve the port, are fit, and are as near as the service asks for."""
    address, port = dialled
    if port not in service.ports:
        return []
    anyone = service.balancer.health is HealthPolicy.ALLOW_ALL
    any_family = service.families is IpFamilies.DUAL
    fit = [
        endpoint
        for endpoint in state.endpoints(service)
        if (anyone or endpoint.workload.status is Health.HEALTHY)
        and (endpoint.ports.get(port) or service.ports[port])
        and (
            (any_family and endpoint.workload.addresses)
            or _address(service, endpoint.workload, address) is not None
            or _behind_gateway(source, endpoint.workload)
        )
    ]
    if service.balancer.mode is BalancerMode.STANDARD or not fit:
        return fit
    preferences = service.balancer.preferences
    if service.balancer.mode is BalancerMode.STRICT:
        return [
            endpoint
            for endpoint in fit
            if all(_in_common(source, endpoint.workload, scope) for scope in preferences)
        ]
    ranks = [_rank(source, endpoint.workload, preferences) for endpoint in fit]
    return [endpoint for endpoint, rank in zip(fit, ranks, strict=True) if rank == max(ranks)]


def _behind_gateway(source: Workload, workload: Workload) -> bool:
    """Without an address a workload can still be an endpoint; it is then refused, not passed over."""
    return workload.network_gateway is not None and workload.network != source.network


def _rank(source: Workload, workload: Workload, preferences: tuple[BalancerScope, ...]) -> int:
    """How many preferences, in their order, the two have in common before the first they have not.

    Where the network comes first, it outweighs all others together, and endpoints elsewhere are
    ranked by the rest.
    """
    network_first = bool(preferences) and preferences[0] is BalancerScope.NETWORK
    bonus = 0
    rank = 0
    for scope in preferences:
        same = _in_common(source, workload, scope)
        if scope is BalancerScope.NETWORK and network_first:
            if not same:
                continue
            bonus = len(preferences) - 1
        if not same:
            break
        rank += 1
    return rank + bonus


def _in_common(source: Workload, workload: Workload, scope: BalancerScope) -> bool:
    match scope:
        case BalancerScope.NETWORK:
            return source.network == workload.network
        case BalancerScope.REGION:
            return source.locality.region == workload.locality.region
        case BalancerScope.ZONE:
            return source.locality.zone == workload.locality.zone
        case BalancerScope.SUBZONE:
            return source.locality.subzone == workload.locality.subzone
        case BalancerScope.NODE:
            return source.node == workload.node
        case BalancerScope.CLUSTER:
            return source.cluster == workload.cluster


def _choose(endpoints: list[Endpoint], random: Random) -> Endpoint | None:
    """One at random, in proportion to capacity; None when all have none."""
    weights = [endpoint.workload.capacity for endpoint in endpoints]
    if not any(weights):
        return None
    return random.choices(endpoints, weights)[0]
