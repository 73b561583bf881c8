"""From a topology as written to one with every address fixed. Pure, and the same for the same spec.

Each lane owns a block of the pods' supernet, as many /24 as there are nodes, rounded up to a power of two:
one prefix matches the lane's pods on every node, and no other lane's. Within the block each node owns one
/24, in the order of the spec; its pods follow from the second address on, so that a pod has the same number
in every lane. The first address of the first lane's subnet is the node's gateway, for all lanes. Two nodes:

    lane 1  10.244.0.0/23   node a 10.244.0.0/24   node b 10.244.1.0/24
    lane 2  10.244.2.0/23   node a 10.244.2.0/24   node b 10.244.3.0/24

On the underlay nodes count up from the first address and outside hosts down from the last, so that adding a
node moves no host. Virtual addresses of services are one /28 per lane.

In a dual-stack topology each node also owns one /64 per lane, and every IPv6 address has the number in its
network that its IPv4 twin has: 10.244.1.2 and fd00:10:244:1::2, 172.30.0.254 and fd00:172:30::fe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice

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

SERVICES_PREFIX = 28
"""Prefix length of one lane's share of them."""

LANES_MAX = 2 ** (SERVICES_PREFIX - SERVICES.prefixlen)
"""Most lanes: as many as `SERVICES` has shares."""

NAME_MAX = 32
"""Longest name. Names become parts of unix socket paths, which end at 107 bytes (`sun_path`)."""

PROBES6 = IPv6Network("fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128")
"""Source address under which istio-cni lets the node's own health probes pass by the proxy."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class TopologyError(ValueError):
    """A topology that cannot exist as written; the message says which entry and what to change."""


def resolve(spec: TopologySpec, lanes: int = 1) -> Topology:
    """Give every node, pod and host of `spec` its address; pods and services are laid out once per lane.

    Args:
        spec: The topology as written.
        lanes: 1 to `LANES_MAX`. Lane 1's addresses do not depend on it.

    Raises:
        TopologyError: A name is unfit or used twice, a pod names an unknown node, two networks
            overlap, there are too many lanes, or a network is too small for what it has to hold.
    """
    if not spec.nodes:
        raise TopologyError("a topology needs at least one node; `nodes` is empty")
    if not 1 <= lanes <= LANES_MAX:
        raise TopologyError(f"a topology has 1 to {LANES_MAX} lanes, not {lanes}")
    _check_names(spec)
    _check_network("underlay", spec.underlay)
    _check_network("pods_supernet", spec.pods_supernet)
    if spec.underlay.overlaps(spec.pods_supernet):
        raise TopologyError(
            f"underlay {spec.underlay} overlaps pods_supernet {spec.pods_supernet}: "
            "pods are routed over the underlay, so the two must not share addresses"
        )
    _check_ipv6(spec, lanes)
    nodes = tuple(_nodes(spec, lanes))
    numbers = range(1, lanes + 1)
    pods = {lane: tuple(_pods(spec, nodes, lane)) for lane in numbers}
    return Topology(
        nodes=nodes,
        pods=tuple(pod for of_lane in pods.values() for pod in of_lane),
        services=tuple(service for lane in numbers for service in _services(spec, pods[lane], lane)),
        hosts=tuple(_hosts(spec)),
        policies=spec.policies,
        underlay=spec.underlay,
        underlay_prefix=spec.underlay.prefixlen,
        underlay6=spec.underlay6,
        lanes=lanes,
    )


def _block(spec: TopologySpec) -> int:
    """Subnets that a lane owns: one per node, up to the next power of two, so that one prefix holds them."""
    return 1 << (len(spec.nodes) - 1).bit_length()


def _nodes(spec: TopologySpec, lanes: int) -> Iterator[Node]:
    wanted = len(spec.nodes) + len(spec.hosts)
    room = _room(spec.underlay)
    if wanted > room:
        raise TopologyError(
            f"underlay {spec.underlay} has {room} usable addresses, but {len(spec.nodes)} nodes and "
            f"{len(spec.hosts)} hosts need {wanted}: take a shorter prefix"
        )
    supernet = spec.pods_supernet
    _check_room("pods_supernet", supernet, POD_PREFIX, spec, lanes)
    subnets = list(islice(supernet.subnets(new_prefix=POD_PREFIX), lanes * _block(spec)))
    subnets6: list[IPv6Network] = []
    if spec.pods_supernet6 is not None:
        wide = spec.pods_supernet6.subnets(new_prefix=POD_PREFIX6)
        subnets6 = list(islice(wide, lanes * _block(spec)))
    for number, (node, address) in enumerate(zip(spec.nodes, spec.underlay.hosts(), strict=False)):
        own, own6 = subnets[number :: _block(spec)], subnets6[number :: _block(spec)]
        gateway = own[0].network_address + 1
        yield Node(
            name=node.name,
            address=address,
            pod_subnets=tuple(own),
            gateway=gateway,
            address6=_twin(address, spec.underlay, spec.underlay6),
            pod_subnets6=tuple(own6),
            gateway6=_twin(gateway, own[0], own6[0] if own6 else None),
        )


def _check_room(key: str, supernet: IPNetwork, prefix: int, spec: TopologySpec, lanes: int) -> None:
    subnets = 2 ** (prefix - supernet.prefixlen) if supernet.prefixlen <= prefix else 0
    # the last lane needs no more than its nodes' subnets
    needed = (lanes - 1) * _block(spec) + len(spec.nodes)
    if needed > subnets:
        fewer = "take fewer lanes, or a shorter prefix" if lanes > 1 else "take a shorter prefix"
        raise TopologyError(
            f"{key} {supernet} holds {subnets} subnets of /{prefix}, but {len(spec.nodes)} nodes in "
            f"{lanes} lanes need {needed}: {fewer}"
        )


def _twin(address: IPv4Address, network: IPv4Network, network6: IPv6Network | None) -> IPv6Address | None:
    """The address of the same number in an IPv6 network; None where there is no such network."""
    return None if network6 is None else network6[int(address) - int(network.network_address)]


def _pods(spec: TopologySpec, nodes: Iterable[Node], lane: int) -> Iterator[Pod]:
    subnets = {node.name: node.pod_subnets[lane - 1] for node in nodes}
    subnets6 = {node.name: node.pod_subnets6[lane - 1] for node in nodes if node.pod_subnets6}
    # the first host address is the gateway's, or would be
    addresses = {name: islice(subnet.hosts(), 1, None) for name, subnet in subnets.items()}
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
            address6=_twin(address, subnets[pod.node], subnets6.get(pod.node) if pod.ipv6 else None),
            backend=pod.backend,
            lane=lane,
        )


def _hosts(spec: TopologySpec) -> Iterator[Host]:
    last = spec.underlay.broadcast_address - 1 if spec.underlay.prefixlen < 31 else spec.underlay[-1]
    for index, host in enumerate(spec.hosts):
        address = last - index
        yield Host(name=host.name, address=address, address6=_twin(address, spec.underlay, spec.underlay6))


def _services(spec: TopologySpec, pods: Sequence[Pod], lane: int) -> Iterator[Service]:
    known = {pod.name: pod for pod in pods}
    share = SERVICES[(lane - 1) << (SERVICES.max_prefixlen - SERVICES_PREFIX)]
    addresses = IPv4Network((share, SERVICES_PREFIX))
    if len(spec.services) > _room(addresses):
        raise TopologyError(
            f"there are {len(spec.services)} services, but a lane has {_room(addresses)} virtual addresses: "
            "take fewer"
        )
    for service, address in zip(spec.services, addresses.hosts(), strict=False):
        endpoints = []
        for name in service.endpoints:
            pod = known.get(name)
            if pod is None or not pod.answers or not pod.captured:
                able = ", ".join(sorted(each.name for each in pods if each.captured and each.answers))
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


def _check_ipv6(spec: TopologySpec, lanes: int) -> None:
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
    _check_room("pods_supernet6", supernet6, POD_PREFIX6, spec, lanes)


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
