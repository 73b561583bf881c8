"""Resources of the mesh as ztunnel's dump spells them, which is what istioctl reads.

Source: ztunnel src/state/workload.rs, service.rs, src/rbac.rs; istio istioctl/pkg/writer/ztunnel/configdump.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from proxy.background import breathing
from proxy.rbac.policy import Match, Policy, ServiceAccountMatch, StringKind, StringMatch
from proxy.state.mesh import MeshState
from proxy.state.model import Gateway, IpFamilies, LoadBalancer, Service, Workload

Json = dict[str, Any]


def workload(each: Workload) -> Json:
    """A workload; what is empty is left out where ztunnel does so."""
    place = asdict(each.locality)
    return {
        "workloadIps": [str(address) for address in each.addresses],
        "protocol": each.protocol.value,
        "networkMode": each.network_mode.value,
        "name": each.name,
        "namespace": each.namespace,
        "status": each.status.value,
        "clusterId": each.cluster,
        "capacity": each.capacity,
        **_known(
            uid=each.uid,
            waypoint=_gateway(each.waypoint),
            networkGateway=_gateway(each.network_gateway),
            trustDomain=each.trust_domain,
            serviceAccount=each.service_account,
            network=each.network,
            workloadName=each.workload_name,
            workloadType=each.workload_type,
            canonicalName=each.canonical_name,
            canonicalRevision=each.canonical_revision,
            hostname=each.hostname,
            node=each.node,
            authorizationPolicies=list(each.authorization_policies),
            locality=place if any(place.values()) else None,
        ),
    }


def service(each: Service, serving: Json) -> Json:
    """A service with the endpoints that serve it."""
    balancer = each.balancer
    return {
        "name": each.name,
        "namespace": each.namespace,
        "hostname": each.hostname,
        "vips": [f"{network}/{address}" for network, address in each.vips],
        "ports": ports_of(each.ports),
        "endpoints": serving,
        "subjectAltNames": list(each.subject_alt_names),
        "canonical": each.canonical,
        "visibility": each.visibility.value,
        **_known(
            cidrVips=[{"network": network, "cidr": str(block)} for network, block in each.cidr_vips],
            waypoint=_gateway(each.waypoint),
            loadBalancer=_balancer(balancer) if balancer != LoadBalancer() else None,
            ipFamilies=each.families.value if each.families is not IpFamilies.DUAL else None,
        ),
    }


def endpoints(state: MeshState, of: Service) -> Json:
    """The workloads that serve a service, by uid."""
    return {
        endpoint.workload.uid: _endpoint(endpoint.workload, endpoint.ports)
        for endpoint in state.endpoints(of)
    }


def staged(state: MeshState) -> dict[str, Json]:
    """Endpoints of services that nobody has described."""
    waiting: defaultdict[str, Json] = defaultdict(dict)
    for each in breathing(state.workloads.values()):
        for key, ports in each.services.items():
            if key not in state.services:
                waiting[key][each.uid] = _endpoint(each, ports)
    return waiting


def policy(each: Policy) -> Json:
    """An authorization policy."""
    return {
        "name": each.name,
        "namespace": each.namespace,
        "scope": each.scope.value,
        "action": each.action.value,
        "rules": [[[_match(match) for match in clause] for clause in rule] for rule in each.rules],
        "dryRun": each.dry_run,
    }


def _match(each: Match) -> Json:
    given = {camel(field.name): getattr(each, field.name) for field in fields(each)}
    return {name: [_condition(value) for value in values] for name, values in given.items() if values}


def _condition(value: object) -> object:
    match value:
        case StringMatch(kind=StringKind.PRESENCE):
            return {StringKind.PRESENCE.value: []}
        case StringMatch():
            return {value.kind.value: value.value}
        case ServiceAccountMatch():
            return {"namespace": value.namespace, "serviceAccount": value.service_account}
        case int():
            return value
        case _:
            return str(value)


def _endpoint(each: Workload, ports: Mapping[int, int]) -> Json:
    return {"workloadUid": each.uid, "port": ports_of(ports), "status": each.status.value}


def ports_of(ports: Mapping[int, int]) -> dict[str, int]:
    """Ports as JSON has them."""
    return {str(outside): target for outside, target in ports.items()}


def _gateway(gateway: Gateway | None) -> Json | None:
    if gateway is None:
        return None
    return {"destination": gateway.destination, "hboneMtlsPort": gateway.port}


def _balancer(balancer: LoadBalancer) -> Json:
    return {
        "mode": balancer.mode.value,
        "routingPreferences": [scope.value for scope in balancer.preferences],
        "healthPolicy": balancer.health.value,
    }


def _known(**given: object) -> Json:
    return {name: value for name, value in given.items() if value}


def camel(name: str) -> str:
    """`some_name` as `someName`."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
