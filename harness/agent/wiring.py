"""Which links, addresses and routes a node's agent makes: pure, from the topology.

A pod hangs on its node by a veth of its own and is routed, never bridged and never translated; nodes
and outside hosts hang on the underlay's bridge. Hardware addresses follow from IPv4 addresses, so
every neighbour and every bridge port is known beforehand: no ARP, no neighbour discovery, no flooding,
and a first packet waits for none of them. In a dual-stack topology IPv6 goes the same ways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

from harness.agent.rules.counting import UPLINK
from harness.agent.sysctls import Kind
from harness.agent.workers import Work
from harness.topology.model import Host, IPAddress, IPNetwork, Node, Pod, Topology

UNDERLAY = "underlay"
"""The underlay's namespace, and the bridge in it."""

MEMBER_LINK = "eth0"
"""The one link of a pod or a host."""

_IFNAMSIZ = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """A pair of ends: `name` here, `peer` in the namespace at `peer_path`."""

    name: str
    mac: str
    peer: str
    peer_mac: str
    peer_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address on a link."""

    link: str
    address: IPAddress
    prefix: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An address that is reached directly over a link, and the hardware address that answers to it."""

    link: str
    address: IPAddress
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A network that is reached over a link, through `gateway` unless that is None."""

    link: str
    network: IPNetwork
    gateway: IPAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of the underlay's bridge, and the hardware address behind it."""

    link: str
    mac: str


def mac(address: IPv4Address) -> str:
    """The hardware address that goes with an IPv4 address (the CNI plugins' scheme, 0a:58 first)."""
    return ":".join(f"{octet:02x}" for octet in (0x0A, 0x58, *address.packed))


def interface(namespace: str) -> str:
    """A member's link on the far side: its namespace's name where it fits, else cut and made unique."""
    if len(namespace) <= _IFNAMSIZ:
        return namespace
    return f"{namespace[: _IFNAMSIZ - 6]}-{hashlib.sha256(namespace.encode()).hexdigest()[:5]}"


class Wiring:
    """The work of one agent, in the order in which it is to be done."""

    def __init__(self, topology: Topology, node: Node, paths: Mapping[str, str], *, underlay: bool) -> None:
        self._topology = topology
        self._node = node
        self._paths = paths
        self._pods = topology.pods_on(node.name)
        self._hosts = topology.hosts if underlay else ()
        self.kinds: dict[str, Kind] = {
            node.netns: Kind.NODE,
            **{pod.netns: Kind.POD for pod in self._pods},
            **({UNDERLAY: Kind.UNDERLAY} if underlay else {}),
            **{host.netns: Kind.HOST for host in self._hosts},
        }
        """The namespaces that this agent answers for."""

    def work(self, namespace: str, function: str, **arguments: object) -> Work:
        """A call to make in one of the namespaces."""
        return Work(namespace=namespace, path=self._paths[namespace], function=function, arguments=arguments)

    def settings(self) -> list[Work]:
        """Set up every namespace, before it has links."""
        kinds = {**self.kinds, UNDERLAY: Kind.UNDERLAY}
        with_ipv6 = {pod.netns: pod.address6 is not None for pod in self._pods}
        return [
            self.work(
                name,
                "harness.agent.sysctls:prepare",
                kind=kind,
                ipv6=with_ipv6.get(name, self._topology.ipv6 and kind is not Kind.UNDERLAY),
            )
            for name, kind in kinds.items()
        ]

    def veths(self) -> list[Work]:
        """Make the links, both ends."""
        node = self._node
        on_node = [
            Veth(
                name=UPLINK,
                mac=mac(node.address),
                peer=interface(node.netns),
                peer_mac="",
                peer_path=self._paths[UNDERLAY],
            ),
            *(
                Veth(
                    name=interface(pod.netns),
                    mac=mac(node.gateway),
                    peer=MEMBER_LINK,
                    peer_mac=mac(pod.address),
                    peer_path=self._paths[pod.netns],
                )
                for pod in self._pods
            ),
        ]
        on_underlay = [
            Veth(
                name=interface(host.netns),
                mac="",
                peer=MEMBER_LINK,
                peer_mac=mac(host.address),
                peer_path=self._paths[host.netns],
            )
            for host in self._hosts
        ]
        works = [self.work(node.netns, "harness.agent.links:make", veths=on_node)]
        if on_underlay:
            works.append(self.work(UNDERLAY, "harness.agent.links:make", veths=on_underlay))
        return works

    def ports(self) -> list[Port]:
        """Every port of the underlay's bridge, whichever agent plugs it in."""
        topology = self._topology
        nodes = [Port(link=interface(node.netns), mac=mac(node.address)) for node in topology.nodes]
        hosts = [Port(link=interface(host.netns), mac=mac(host.address)) for host in topology.hosts]
        return nodes + hosts

    def reach(self) -> list[Work]:
        """Give the links their addresses and bring them up, with all that is reached over them."""
        ports = [Port(link=interface(self._node.netns), mac=mac(self._node.address))]
        ports += [Port(link=interface(host.netns), mac=mac(host.address)) for host in self._hosts]
        return [
            self.work(UNDERLAY, "harness.agent.links:bridge", name=UNDERLAY, ports=ports),
            self._reach_node(),
            *self._reach_pods(),
            *(self._reach_host(host) for host in self._hosts),
        ]

    def _reach_node(self) -> Work:
        node, topology = self._node, self._topology
        links = {pod: interface(pod.netns) for pod in self._pods}
        others = [other for other in topology.nodes if other.name != node.name]
        over_uplink: list[Node | Host] = [*others, *topology.hosts]
        return self._configure(
            node.netns,
            addresses=[
                *self._on_underlay(UPLINK, node),
                *(
                    address
                    for pod in self._pods
                    for gateway in (node.gateway, node.gateway6 if pod.address6 else None)
                    for address in _alone(links[pod], gateway)
                ),
            ],
            neighbours=[
                *(entry for pod in self._pods for entry in _neighbours(links[pod], pod)),
                *(entry for other in over_uplink for entry in _neighbours(UPLINK, other)),
            ],
            routes=[
                *(
                    Route(link=links[pod], network=ip_network(address))
                    for pod in self._pods
                    for address in (pod.address, pod.address6)
                    if address is not None
                ),
                *(route for other in others for route in _through(UPLINK, other)),
            ],
        )

    def _reach_pods(self) -> Iterator[Work]:
        node = self._node
        for pod in self._pods:
            ways: list[tuple[IPAddress, IPAddress, str]] = [(pod.address, node.gateway, "0.0.0.0/0")]
            if pod.address6 is not None and node.gateway6 is not None:
                ways.append((pod.address6, node.gateway6, "::/0"))
            yield self._configure(
                pod.netns,
                addresses=[found for address, _, _ in ways for found in _alone(MEMBER_LINK, address)],
                neighbours=[
                    Neighbour(link=MEMBER_LINK, address=gateway, mac=mac(node.gateway))
                    for _, gateway, _ in ways
                ],
                routes=[
                    route
                    for _, gateway, everything in ways
                    for route in (
                        Route(link=MEMBER_LINK, network=ip_network(gateway)),
                        Route(link=MEMBER_LINK, network=ip_network(everything), gateway=gateway),
                    )
                ],
            )

    def _reach_host(self, host: Host) -> Work:
        topology = self._topology
        others: list[Node | Host] = [*topology.nodes]
        others += [other for other in topology.hosts if other.name != host.name]
        return self._configure(
            host.netns,
            addresses=self._on_underlay(MEMBER_LINK, host),
            neighbours=[entry for other in others for entry in _neighbours(MEMBER_LINK, other)],
            routes=[route for node in topology.nodes for route in _through(MEMBER_LINK, node)],
        )

    def _on_underlay(self, link: str, member: Node | Host) -> list[Address]:
        topology = self._topology
        addresses = [Address(link=link, address=member.address, prefix=topology.underlay_prefix)]
        if member.address6 is not None and topology.underlay6 is not None:
            prefix = topology.underlay6.prefixlen
            addresses.append(Address(link=link, address=member.address6, prefix=prefix))
        return addresses

    def _configure(self, namespace: str, **arguments: object) -> Work:
        return self.work(namespace, "harness.agent.links:configure", **arguments)


def _alone(link: str, address: IPAddress | None) -> Iterator[Address]:
    """An address without a network: everything is routed."""
    if address is not None:
        yield Address(link=link, address=address, prefix=address.max_prefixlen)


def _neighbours(link: str, member: Node | Pod | Host) -> Iterator[Neighbour]:
    """All addresses of a member; its one hardware address follows from the IPv4 one."""
    addresses: tuple[IPv4Address | IPv6Address | None, ...] = (member.address, member.address6)
    for address in addresses:
        if address is not None:
            yield Neighbour(link=link, address=address, mac=mac(member.address))


def _through(link: str, node: Node) -> Iterator[Route]:
    """A node's pods of all lanes, by way of that node."""
    for subnet in node.pod_subnets:
        yield Route(link=link, network=subnet, gateway=node.address)
    for subnet6 in node.pod_subnets6:
        yield Route(link=link, network=subnet6, gateway=node.address6)
