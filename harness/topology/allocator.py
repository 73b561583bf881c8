"""From a topology as written to one with every address fixed. Pure, and the same for the same spec.

Each node owns one /24 of the pods' supernet, in the order of the spec: the first address is the
gateway, its pods follow. On the underlay nodes count up from the first address and outside hosts
down from the last, so that adding a node moves no host.

In a dual-stack topology each node also owns one /64, and every IPv6 address has the number in its
network that its IPv4 twin has: 10.244.1.2 and fd00:10:244:1::2, 172.30.0.254 and fd00:172:30::fe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice, repeat

from harness.topology.canary import ADDRESS, ADDRESS6
from harness.topology.model import (
    Host,
    HostSpec,
    IPNetwork,
    Node,
    NodeSpec,
    Pod,
    PodSpec,
    Service,
    ServiceSpec,
    Topology,
    TopologySpec,
)

POD_PREFIX = 24
"""Prefix length of a node's pod subnet; kube-controller-manager's `--node-cidr-mask-size` default."""

POD_PREFIX6 = 64
"""The same for IPv6; kube-controller-manager's `--node-cidr-mask-size-ipv6` default."""

SERVICES = IPv4Network("203.0.113.0/24")
"""Virtual addresses of services: RFC 5737, for documentation, so in no testbed's network and on no route."""

NAME_MAX = 32
"""Longest name. Names become parts of unix socket paths, which end at 107 bytes (`sun_path`)."""

PROBES6 = IPv6Network("fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128")
"""Source address under which istio-cni lets the node's own health probes pass by the proxy."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class TopologyError(ValueError):
    """A topology that cannot exist as written; the message says which entry and what to change."""


def resolve(spec: TopologySpec) -> Topology:
    """Give every node, pod and host of `spec` its address.

    Raises:
        TopologyError: A name is unfit or used twice, a pod names an unknown node, two networks
            overlap, or a network is too small for what it has to hold.
    """
    if not spec.nodes:
        raise TopologyError("a topology needs at least one node; `nodes` is empty")
    _check_names(spec)
    _check_network("underlay", spec.underlay)
    _check_network("pods_supernet", spec.pods_supernet)
    if spec.underlay.overlaps(spec.pods_supernet):
        raise TopologyError(
            f"underlay {spec.underlay} overlaps pods_supernet {spec.pods_supernet}: "
            "pods are routed over the underlay, so the two must not share addresses"
        )
    _check_ipv6(spec)
    nodes = tuple(_nodes(spec))
    pods = tuple(_pods(spec, nodes))
    return Topology(
        nodes=nodes,
        pods=pods,
        services=tuple(_services(spec, pods)),
        hosts=tuple(_hosts(spec)),
        policies=spec.policies,
        underlay=spec.underlay,
        underlay_prefix=spec.underlay.prefixlen,
        underlay6=spec.underlay6,
    )


def _nodes(spec: TopologySpec) -> Iterator[Node]:
    wanted = len(spec.nodes) + len(spec.hosts)
    room = _room(spec.underlay)
    if wanted > room:
        raise TopologyError(
            f"underlay {spec.underlay} has {room} usable addresses, but {len(spec.nodes)} nodes and "
            f"{len(spec.hosts)} hosts need {wanted}: take a shorter prefix"
        )
    supernet = spec.pods_supernet
    subnets = 2 ** (POD_PREFIX - supernet.prefixlen) if supernet.prefixlen <= POD_PREFIX else 0
    if len(spec.nodes) > subnets:
        raise TopologyError(
            f"pods_supernet {supernet} holds {subnets} subnets of /{POD_PREFIX}, one per node, "
            f"but there are {len(spec.nodes)} nodes: take a shorter prefix"
        )
    subnets6: Iterable[IPv6Network | None] = repeat(None)
    if spec.pods_supernet6 is not None:
        subnets6 = spec.pods_supernet6.subnets(new_prefix=POD_PREFIX6)
    for node, address, subnet, subnet6 in zip(
        spec.nodes, spec.underlay.hosts(), supernet.subnets(new_prefix=POD_PREFIX), subnets6, strict=False
    ):
        gateway = subnet.network_address + 1
        yield Node(
            name=node.name,
            address=address,
            pod_subnet=subnet,
            gateway=gateway,
            address6=_twin(address, spec.underlay, spec.underlay6),
            pod_subnet6=subnet6,
            gateway6=_twin(gateway, subnet, subnet6),
        )


def _twin(address: IPv4Address, network: IPv4Network, network6: IPv6Network | None) -> IPv6Address | None:
    """The address of the same number in an IPv6 network; None where there is no such network."""
    return None if network6 is None else network6[int(address) - int(network.network_address)]


def _pods(spec: TopologySpec, nodes: Iterable[Node]) -> Iterator[Pod]:
    known = {node.name: node for node in nodes}
    subnets = {node.name: node.pod_subnet for node in known.values()}
    addresses: dict[str, Iterator[IPv4Address]] = {}
    for name, subnet in subnets.items():
        # the first host address is the gateway
        addresses[name] = islice(subnet.hosts(), 1, None)
    for pod in spec.pods:
        if pod.node not in subnets:
            raise TopologyError(
                f"pod {pod.name!r}: unknown node {pod.node!r}; known: {', '.join(sorted(subnets))}"
            )
        address = next(addresses[pod.node], None)
        if address is None:
            room = _room(subnets[pod.node]) - 1
            raise TopologyError(
                f"pod {pod.name!r}: node {pod.node!r} is full; {subnets[pod.node]} holds {room} pods: "
                "move some of its pods to another node"
            )
        yield Pod(
            name=pod.name,
            node=pod.node,
            address=address,
            namespace=pod.namespace,
            service_account=pod.service_account or pod.name,
            captured=pod.captured,
            client=pod.client,
            address6=_twin(address, subnets[pod.node], known[pod.node].pod_subnet6 if pod.ipv6 else None),
        )


def _hosts(spec: TopologySpec) -> Iterator[Host]:
    last = spec.underlay.broadcast_address - 1 if spec.underlay.prefixlen < 31 else spec.underlay[-1]
    for index, host in enumerate(spec.hosts):
        address = last - index
        yield Host(name=host.name, address=address, address6=_twin(address, spec.underlay, spec.underlay6))


def _services(spec: TopologySpec, pods: Sequence[Pod]) -> Iterator[Service]:
    known = {pod.name: pod for pod in pods}
    for service, address in zip(spec.services, SERVICES.hosts(), strict=False):
        endpoints = []
        for name in service.endpoints:
            pod = known.get(name)
            if pod is None or pod.client or not pod.captured:
                able = ", ".join(sorted(each.name for each in pods if each.captured and not each.client))
                raise TopologyError(
                    f"service {service.name!r}: endpoint {name!r} is no captured pod with a backend; "
                    f"there are {able or 'none'}"
                )
            endpoints.append(pod)
        if len({pod.namespace for pod in endpoints}) != 1:
            raise TopologyError(
                f"service {service.name!r}: its endpoints have to be one or more pods of one namespace"
            )
        yield Service(name=service.name, address=address, endpoints=tuple(endpoints))


def _room(network: IPv4Network) -> int:
    return network.num_addresses - 2 if network.prefixlen < 31 else network.num_addresses


def _check_network(key: str, network: IPNetwork) -> None:
    if any(address in network for address in (ADDRESS, ADDRESS6)):
        raise TopologyError(
            f"{key} {network} holds {ADDRESS6 if network.version == 6 else ADDRESS}, the canary's address, "
            "which nothing may have: take another range"
        )
    reserved = network.is_loopback or network.is_multicast or network.is_link_local or network.is_reserved
    if reserved or network.is_unspecified or network.network_address.packed[0] == 0:
        private = "10.0.0.0/8 or 172.16.0.0/12" if network.version == 4 else "fd00::/8"
        raise TopologyError(
            f"{key} {network} is not for unicast use between hosts: take a private range such as {private}"
        )


def _check_ipv6(spec: TopologySpec) -> None:
    underlay6, supernet6 = spec.underlay6, spec.pods_supernet6
    if underlay6 is None and supernet6 is None:
        return
    if underlay6 is None or supernet6 is None:
        raise TopologyError("underlay6 and pods_supernet6 come together: give both, or neither")
    _check_network("underlay6", underlay6)
    _check_network("pods_supernet6", supernet6)
    for key, network in (("underlay6", underlay6), ("pods_supernet6", supernet6)):
        if network.overlaps(PROBES6):
            raise TopologyError(
                f"{key} {network} overlaps {PROBES6}, under which health probes pass by the proxy: "
                "take another range"
            )
    if underlay6.overlaps(supernet6):
        raise TopologyError(
            f"underlay6 {underlay6} overlaps pods_supernet6 {supernet6}: "
            "pods are routed over the underlay, so the two must not share addresses"
        )
    if underlay6.num_addresses < spec.underlay.num_addresses:
        raise TopologyError(
            f"underlay6 {underlay6} is smaller than underlay {spec.underlay}, whose addresses it twins: "
            "take a shorter prefix, such as /64"
        )
    subnets = 2 ** (POD_PREFIX6 - supernet6.prefixlen) if supernet6.prefixlen <= POD_PREFIX6 else 0
    if len(spec.nodes) > subnets:
        raise TopologyError(
            f"pods_supernet6 {supernet6} holds {subnets} subnets of /{POD_PREFIX6}, one per node, "
            f"but there are {len(spec.nodes)} nodes: take a shorter prefix"
        )


def _check_names(spec: TopologySpec) -> None:
    _unique("node", spec.nodes)
    # pods and hosts are both targets, found by name alone
    _unique("pod, host or service", (*spec.pods, *spec.hosts, *spec.services))
    for pod in spec.pods:
        _fit(f"pod {pod.name!r}: namespace", pod.namespace)
        if pod.service_account:
            _fit(f"pod {pod.name!r}: service account", pod.service_account)
    seen: set[str] = set()
    for policy in spec.policies:
        if policy.name in seen:
            raise TopologyError(f"policy {policy.name!r} is there twice: give each policy a name of its own")
        seen.add(policy.name)


def _unique(kind: str, entries: Iterable[NodeSpec | PodSpec | HostSpec | ServiceSpec]) -> None:
    seen: set[str] = set()
    for entry in entries:
        _fit(kind, entry.name)
        if entry.name in seen:
            raise TopologyError(f"{kind} {entry.name!r} is there twice: give each a name of its own")
        seen.add(entry.name)


def _fit(what: str, name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
        raise TopologyError(
            f"{what} {name!r}: a name is 1 to {NAME_MAX} of a-z, 0-9 and '-', "
            "with a letter or digit at both ends"
        )
