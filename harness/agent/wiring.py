"""Which links, addresses and routes a node's agent makes: pure, from the topology.

A pod hangs on its node by a veth of its own and is routed, never bridged and never translated; nodes
and outside hosts hang on the underlay's bridge. Hardware addresses follow from IPv4 addresses, so
every neighbour and every bridge port is known beforehand: no ARP, no flooding, and a first packet
waits for neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from harness.agent.rules.counting import UPLINK
from harness.agent.sysctls import Kind
from harness.agent.workers import Work
from harness.topology.model import Host, Node, Topology

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
    address: IPv4Address
    prefix: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An address that is reached directly over a link."""

    link: str
    address: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A network that is reached over a link, through `gateway` unless that is None."""

    link: str
    network: IPv4Network
    gateway: IPv4Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of the underlay's bridge, and the hardware address behind it."""

    link: str
    mac: str


def mac(address: IPv4Address) -> str:
    """The hardware address that goes with an IPv4 address (the CNI plugins' scheme, 0a:58 first)."""
    return ":".join(f"{octet:02x}" for octet in (0x0A, 0x58, *address.packed))


def interface(kind: str, name: str) -> str:
    """A member's link on the far side: its own name where it fits, else cut and made unique by a hash."""
    full = f"{kind}-{name}"
    if len(full) <= _IFNAMSIZ:
        return full
    return f"{full[: _IFNAMSIZ - 6]}-{hashlib.sha256(name.encode()).hexdigest()[:5]}"


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
        return [self.work(name, "harness.agent.sysctls:prepare", kind=kind) for name, kind in kinds.items()]

    def veths(self) -> list[Work]:
        """Make the links, both ends."""
        node = self._node
        on_node = [
            Veth(
                name=UPLINK,
                mac=mac(node.address),
                peer=interface("node", node.name),
                peer_mac="",
                peer_path=self._paths[UNDERLAY],
            ),
            *(
                Veth(
                    name=interface("pod", pod.name),
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
                name=interface("host", host.name),
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

    def reach(self) -> list[Work]:
        """Give the links their addresses and bring them up, with all that is reached over them."""
        ports = [Port(link=interface("node", self._node.name), mac=mac(self._node.address))]
        ports += [Port(link=interface("host", host.name), mac=mac(host.address)) for host in self._hosts]
        return [
            self.work(UNDERLAY, "harness.agent.links:bridge", name=UNDERLAY, ports=ports),
            self._reach_node(),
            *self._reach_pods(),
            *(self._reach_host(host) for host in self._hosts),
        ]

    def _reach_node(self) -> Work:
        node, topology = self._node, self._topology
        links = {pod.name: interface("pod", pod.name) for pod in self._pods}
        others = [other for other in topology.nodes if other.name != node.name]
        return self._configure(
            node.netns,
            addresses=[
                Address(link=UPLINK, address=node.address, prefix=topology.underlay_prefix),
                *(Address(link=links[pod.name], address=node.gateway) for pod in self._pods),
            ],
            neighbours=[
                *(Neighbour(link=links[pod.name], address=pod.address) for pod in self._pods),
                *(Neighbour(link=UPLINK, address=other.address) for other in others),
                *(Neighbour(link=UPLINK, address=host.address) for host in topology.hosts),
            ],
            routes=[
                *(Route(link=links[pod.name], network=IPv4Network(pod.address)) for pod in self._pods),
                *(Route(link=UPLINK, network=other.pod_subnet, gateway=other.address) for other in others),
            ],
        )

    def _reach_pods(self) -> Iterator[Work]:
        gateway = self._node.gateway
        for pod in self._pods:
            yield self._configure(
                pod.netns,
                addresses=[Address(link=MEMBER_LINK, address=pod.address)],
                neighbours=[Neighbour(link=MEMBER_LINK, address=gateway)],
                routes=[
                    Route(link=MEMBER_LINK, network=IPv4Network(gateway)),
                    Route(link=MEMBER_LINK, network=IPv4Network("0.0.0.0/0"), gateway=gateway),
                ],
            )

    def _reach_host(self, host: Host) -> Work:
        topology = self._topology
        others = [other for other in topology.hosts if other.name != host.name]
        return self._configure(
            host.netns,
            addresses=[Address(link=MEMBER_LINK, address=host.address, prefix=topology.underlay_prefix)],
            neighbours=[
                *(Neighbour(link=MEMBER_LINK, address=node.address) for node in topology.nodes),
                *(Neighbour(link=MEMBER_LINK, address=other.address) for other in others),
            ],
            routes=[
                Route(link=MEMBER_LINK, network=node.pod_subnet, gateway=node.address)
                for node in topology.nodes
            ],
        )

    def _configure(self, namespace: str, **arguments: object) -> Work:
        return self.work(namespace, "harness.agent.links:configure", **arguments)
