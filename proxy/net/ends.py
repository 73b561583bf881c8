"""What has become of the other end of an accepted connection, without reading from it."""

from __future__ import annotations

import os
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from proxy.net.namespace import inside

TCP_CLOSE: Final = 7
"""linux/tcp_states.h: the connection was reset, or gave up."""
TCP_CLOSE_WAIT: Final = 8
"""The other end has sent FIN."""
NETLINK_SOCK_DIAG: Final = 4
"""linux/netlink.h"""
SOCK_DIAG_BY_FAMILY: Final = 20
"""linux/sock_diag.h"""
NLM_F_REQUEST: Final = 1
ANY: Final = 0xFFFF_FFFF
"""All TCP states (1 << state); and a cookie that is not compared (INET_DIAG_NOCOOKIE)."""

_REQUEST: Final = struct.Struct("=IHHII4BI2s2s16s16sIII")
"""nlmsghdr and inet_diag_req_v2 (linux/inet_diag.h)."""
_INODE: Final = struct.Struct("=84xI")
"""`idiag_inode` of an inet_diag_msg behind its nlmsghdr."""

SocketAddress = tuple[IPv4Address | IPv6Address, int]


def tcp_state(sock: socket.socket) -> int:
    """A connection's state, as in linux/tcp_states.h; 0 where the system does not tell.

    It shows a reset or a FIN behind bytes that nobody has read, which reading would not.
    """
    if sys.platform != "linux":
        return 0
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def closed_by_its_process(netns_fd: int | None, local: SocketAddress, remote: SocketAddress) -> bool:
    """Whether a connection of this host is nobody's any more: after close(), unlike after shutdown().

    Either sends the same FIN. False where nothing is known: no such socket is in the namespace, or the
    kernel has no inet_diag.

    Args:
        netns_fd: The namespace of the socket; None: the process's own.
        local: The connection's own address.
        remote: Where it believes to be connected to.
    """
    try:
        if netns_fd is None:
            netlink = _netlink()
        else:
            with inside(netns_fd):
                netlink = _netlink()
        with netlink:
            netlink.send(_question(local, remote))
            answer = netlink.recv(4096)
    except OSError:
        return False
    if int.from_bytes(answer[4:6], sys.byteorder) != SOCK_DIAG_BY_FAMILY:
        return False  # NLMSG_ERROR: no such connection
    return not _INODE.unpack_from(answer)[0]


def _netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_SOCK_DIAG)


def _question(local: SocketAddress, remote: SocketAddress) -> bytes:
    family = socket.AF_INET if local[0].version == 4 else socket.AF_INET6
    ports = local[1].to_bytes(2), remote[1].to_bytes(2)
    addresses = local[0].packed, remote[0].packed
    head = _REQUEST.size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, os.getpid() & 0xFFFF, 0
    return _REQUEST.pack(*head, family, socket.IPPROTO_TCP, 0, 0, ANY, *ports, *addresses, 0, ANY, ANY)
