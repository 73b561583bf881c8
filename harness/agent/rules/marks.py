"""Ports, packet marks and the routing table of in-pod capture. Values are Istio's where it has them.

Source: istio/istio cni/pkg/config (inpod mark 1337, original source mark 0x111, mask 0xfff,
table 100, preference 32764); istio/ztunnel config (ports).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.agent.rules.model import Module, Option

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
HBONE_PORT = 15008

PROXY = 0x539
"""On every socket of the proxy, at every level; also a Kubernetes node's 1337 of old."""
TO_PROXY = 0x111
"""On the app's replies to the proxy's leg, which must not leave by the pod's link."""
CAPTURED = 0x112
"""On a captured outbound packet on its way round through lo; ours, tproxy levels only."""
MASK = 0xFFF

TABLE = 100
"""Routing table in which everything is local."""

PROBES = "169.254.7.127/32"
PROBES6 = "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128"
"""Source addresses under which istio-cni lets the node's own health probes pass by the proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRoute:
    """Packets with this mark look up `TABLE`."""

    mark: int
    preference: int
    ipv6: bool = False


REPLIES = PolicyRoute(mark=TO_PROXY, preference=32764)
ROUND_TRIP = PolicyRoute(mark=CAPTURED, preference=32763)


def marked(mark: int) -> Module:
    """The packet carries `mark`."""
    return Module(name="mark", options=(Option(name="mark", value=masked(mark)),))


def unmarked(mark: int) -> Module:
    """The packet does not carry `mark`."""
    return Module(name="mark", options=(Option(name="mark", value=masked(mark), inverted=True),))


def masked(mark: int) -> str:
    """The mark with its mask, as iptables writes it."""
    return f"{mark:#x}/{MASK:#x}"


ACCEPT = Module(name="ACCEPT")

SYN = Option(name="tcp-flags", value="FIN,SYN,RST,ACK SYN")
"""What iptables' `--syn` stands for: the first packet of a connection."""
NOT_SYN = Option(name="tcp-flags", value="FIN,SYN,RST,ACK SYN", inverted=True)

LOOPBACK = "127.0.0.1/32"
LOOPBACK6 = "::1/128"
NOT_LOOPBACK = f"!{LOOPBACK}"

ANY = "0.0.0.0"  # noqa: S104 - TPROXY's word for the listener's own address
ANY6 = "::"
