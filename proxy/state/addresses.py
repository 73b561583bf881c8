"""Workloads and services from a mesh document."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.identity.spiffe import InvalidSpiffeId
from proxy.state import fields
from proxy.state.fields import Fields, Malformed, shown
from proxy.state.model import (
    BalancerMode,
    BalancerScope,
    Gateway,
    Health,
    HealthPolicy,
    IPAddress,
    IpFamilies,
    IPNetwork,
    LoadBalancer,
    Locality,
    NetworkMode,
    Protocol,
    Service,
    Visibility,
    Workload,
)

DEFAULT_TRUST_DOMAIN = "cluster.local"
"""Istio's."""


def workload(value: object, where: str) -> Workload:
    """One of `workloads`.

    Raises:
        Malformed: With the place of what is wrong.
    """
    given = Fields(value, where)
    read = Workload(
        uid=given.need_text("uid"),
        name=given.text("name"),
        namespace=given.need_text("namespace"),
        service_account=given.text("serviceAccount"),
        trust_domain=given.text("trustDomain") or DEFAULT_TRUST_DOMAIN,
        addresses=tuple(fields.address(*item) for item in fields.items(*given.need("workloadIps"))),
        protocol=given.word("protocol", Protocol.TCP),
        node=given.text("node"),
        network=given.text("network"),
        network_mode=given.word("networkMode", NetworkMode.STANDARD),
        cluster=given.text("clusterId"),
        workload_name=given.text("workloadName"),
        workload_type=given.text("workloadType"),
        canonical_name=given.text("canonicalName"),
        canonical_revision=given.text("canonicalRevision"),
        hostname=_host_name(given.take("hostname")),
        locality=_locality(given.take("locality")),
        status=given.word("status", Health.HEALTHY),
        capacity=_capacity(given.take("capacity")),
        services=_services(given.take("services")),
        authorization_policies=tuple(
            fields.text(*item, empty=False) for item in given.items("authorizationPolicies")
        ),
        waypoint=_gateway(given.take("waypoint")),
        network_gateway=_gateway(given.take("networkGateway")),
    )
    _refuse_tunnels(given)
    given.end()
    if not read.service_account and read.protocol is Protocol.TCP:
        return read  # endpoints of a ServiceEntry: reached in plaintext, where nobody proves an identity
    try:
        _ = read.identity
    except InvalidSpiffeId as exc:
        raise Malformed(f"{where}: {exc}") from exc
    return read


def service(value: object, where: str) -> Service:
    """One of `services`.

    Raises:
        Malformed: With the place of what is wrong.
    """
    given = Fields(value, where)
    waypoint = _gateway(given.take("waypoint"))
    for item, item_where in given.items("weightedWaypoints"):
        weighted = Fields(item, item_where)
        waypoint = waypoint or _gateway(weighted.need("destination"))
    read = Service(
        name=given.need_text("name"),
        namespace=given.need_text("namespace"),
        hostname=fields.host_name(*given.need("hostname")),
        vips=tuple(network_address(*item) for item in fields.items(*given.need("vips"))),
        cidr_vips=tuple(network_block(*item) for item in given.items("cidrVips")),
        ports=fields.port_map(*given.need("ports"), low=0),
        subject_alt_names=tuple(fields.text(*item, empty=False) for item in given.items("subjectAltNames")),
        canonical=given.flag("canonical"),
        visibility=given.word("visibility", Visibility.PUBLIC),
        families=given.word("ipFamilies", IpFamilies.DUAL),
        waypoint=waypoint,
        balancer=_balancer(given.take("loadBalancer")),
    )
    given.take("endpoints")  # each workload names its services
    given.end()
    return read


def network_address(value: object, where: str) -> tuple[str, IPAddress]:
    """`network/address`; the network may be empty, the slash not missing."""
    network, slash, block = fields.text(value, where).partition("/")
    if not slash:
        raise Malformed(f"{where}: {shown(value)}; expected network/address, as in /10.96.0.1")
    return network, fields.address(block, where)


def network_block(value: object, where: str) -> tuple[str, IPNetwork]:
    """`{"network": "", "cidr": "240.0.0.0/8"}`, which is ztunnel's spelling of it."""
    given = Fields(value, where)
    read = given.text("network"), fields.network(*given.need("cidr"))
    given.end()
    return read


def _host_name(found: tuple[object, str] | None) -> str:
    return "" if found is None or found[0] == "" else fields.host_name(*found)


def _capacity(found: tuple[object, str] | None) -> int:
    return 1 if found is None else fields.integer(*found, low=0, high=2**32 - 1)


def _locality(found: tuple[object, str] | None) -> Locality:
    if found is None:
        return Locality()
    given = Fields(*found)
    read = Locality(region=given.text("region"), zone=given.text("zone"), subzone=given.text("subzone"))
    given.end()
    return read


def _services(found: tuple[object, str] | None) -> dict[str, dict[int, int]]:
    if found is None:
        return {}
    value, where = found
    if not isinstance(value, Mapping):
        raise Malformed(f"{where}: {shown(value)} is no object")
    services = {}
    for key, ports in value.items():
        namespace, slash, hostname = fields.text(key, where, empty=False).partition("/")
        if not (namespace and slash and hostname):
            raise Malformed(f"{where}: {shown(key)}; expected namespace/hostname")
        services[key] = fields.port_map(ports, f"{where}.{key}", low=0)
    return services


def _gateway(found: tuple[object, str] | None) -> Gateway | None:
    """Its form matters little, as it is refused where it would be used; that it is there does."""
    if found is None:
        return None
    value, where = found
    given = Fields(value, where)
    destination, _ = given.need("destination")
    text = destination if isinstance(destination, str) and destination.isprintable() else shown(destination)
    return Gateway(destination=text, port=fields.port(*given.need("hboneMtlsPort")))


def _refuse_tunnels(given: Fields) -> None:
    """Traffic to a workload with a tunnel of its own needs what this proxy does not speak."""
    tunnel = given.take("applicationTunnel")
    if tunnel is not None and (not isinstance(tunnel[0], Mapping) or tunnel[0].get("protocol") != "NONE"):
        raise Malformed(f"{tunnel[1]}: {shown(tunnel[0])} is not supported")
    if given.flag("nativeTunnel"):
        raise Malformed(f"{given.where}.nativeTunnel: true is not supported")


def _balancer(found: tuple[object, str] | None) -> LoadBalancer:
    if found is None:
        return LoadBalancer()
    given = Fields(*found)
    read = LoadBalancer(
        mode=given.word("mode", BalancerMode.STANDARD),
        preferences=tuple(
            fields.word(item, where, BalancerScope) for item, where in given.items("routingPreferences")
        ),
        health=given.word("healthPolicy", HealthPolicy.ONLY_HEALTHY),
    )
    given.end()
    return read
