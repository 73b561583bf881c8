"""Where an intercepted connection was going, whichever way the rules sent it here."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from proxy.net.address import address

SO_ORIGINAL_DST: Final = 80
"""linux/netfilter_ipv4.h, at level SOL_IP"""
IP6T_SO_ORIGINAL_DST: Final = 80
"""linux/netfilter_ipv6/ip6_tables.h, at level SOL_IPV6"""
SOL_IPV6: Final = 41
"""linux/socket.h"""

_SOCKADDR_IN = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6 = struct.Struct("!2xH4x16s4x")


def original_destination(sock: socket.socket, listener_port: int) -> tuple[IPv4Address | IPv6Address, int]:
    """The address and port to which the client connected.

    After REDIRECT the local port is the listener's, and conntrack knows the original. After TPROXY
    nothing was rewritten and the local address is the original. A client that called the listener
    itself gets its own call back: the listener's address and port, for the caller to refuse.

    Source: nf_conntrack_l3proto getorigdst; netfilter's TPROXY documentation.
    """
    local = sock.getsockname()
    if local[1] == listener_port:
        found = _from_conntrack(sock, local[0])
        if found is not None:
            return found
    return address(local[0]), int(local[1])


def _from_conntrack(sock: socket.socket, local: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    try:
        if ":" in local and not local.startswith("::ffff:"):
            raw = sock.getsockopt(SOL_IPV6, IP6T_SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
            port, packed = _SOCKADDR_IN6.unpack(raw)
            return address(socket.inet_ntop(socket.AF_INET6, packed)), port
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, _SOCKADDR_IN.size)
        port, packed = _SOCKADDR_IN.unpack(raw)
        return address(socket.inet_ntoa(packed)), port
    except OSError:
        return None  # not tracked: nothing was rewritten
