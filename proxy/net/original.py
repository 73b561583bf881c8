"""Where an intercepted connection was going, whichever way it was redirected, and whether that is here."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from proxy.net.address import address, socket_name
from proxy.net.sockets import socket_in

SO_ORIGINAL_DST: Final = 80
"""linux/netfilter_ipv4.h, at level SOL_IP"""
IP6T_SO_ORIGINAL_DST: Final = 80
"""linux/netfilter_ipv6/ip6_tables.h, at level SOL_IPV6"""
SOL_IPV6: Final = 41
"""linux/socket.h"""

_SOCKADDR_IN = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6 = struct.Struct("!2xH4x16s4s")


def original_destination(sock: socket.socket, listener_port: int) -> tuple[IPv4Address | IPv6Address, int]:
    """The address and port to which the client connected.

    After REDIRECT the local port is the listener's, and conntrack knows the original. After TPROXY
    nothing was rewritten and the local address is the original. A client that called the listener
    itself gets its own call back: an address of the namespace (`is_local`) and the listener's port.

    Source: nf_conntrack_l3proto getorigdst; netfilter's TPROXY documentation.
    """
    local = sock.getsockname()
    if local[1] == listener_port:
        found = _from_conntrack(sock, local[0])
        if found is not None:
            return found
    return address(local[0], *local[3:]), int(local[1])


def is_local(netns_fd: int | None, ip: IPv4Address | IPv6Address) -> bool:
    """Whether an address is the namespace's own, on whichever interface: what is sent there does not leave.

    The kernel is asked by binding to it. Where net.ipv4.ip_nonlocal_bind is on, every address seems local.

    Raises:
        OSError: There is no socket to ask with.

    Source: net/ipv4/af_inet.c __inet_bind, net/ipv6/af_inet6.c __inet6_bind.
    """
    with socket_in(netns_fd, socket.AF_INET if ip.version == 4 else socket.AF_INET6) as sock:
        try:
            sock.bind(socket_name(ip, 0))
        except OSError as exc:
            if exc.errno in (errno.EADDRNOTAVAIL, errno.EINVAL):  # EINVAL: link-local without its interface
                return False
            raise
    return True


def _from_conntrack(sock: socket.socket, local: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    try:
        if ":" in local and not local.startswith("::ffff:"):
            raw = sock.getsockopt(SOL_IPV6, IP6T_SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
            port, packed, scope = _SOCKADDR_IN6.unpack(raw)
            return address(
                socket.inet_ntop(socket.AF_INET6, packed), int.from_bytes(scope, sys.byteorder)
            ), port
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, _SOCKADDR_IN.size)
        port, packed = _SOCKADDR_IN.unpack(raw)
        return address(socket.inet_ntoa(packed)), port
    except OSError:
        return None  # not tracked: nothing was rewritten
