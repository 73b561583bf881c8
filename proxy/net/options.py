"""Socket options, one per function. Constants that Python lacks carry their header."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

SO_MARK: Final = 36
"""asm-generic/socket.h"""
IP_TRANSPARENT: Final = 19
"""linux/in.h"""
IPV6_TRANSPARENT: Final = 75
"""linux/in6.h"""
IP_FREEBIND: Final = 15
"""linux/in.h"""
IPV6_FREEBIND: Final = 78
"""linux/in6.h"""
IP_BIND_ADDRESS_NO_PORT: Final = 24
"""linux/in.h; for IPv6 sockets too, at level IPPROTO_IP"""

SIOCOUTQ: Final = 0x5411
"""linux/sockios.h"""

_TCP_KEEPIDLE: Final = getattr(socket, "TCP_KEEPIDLE", 0x10)
"""netinet/tcp.h of macOS, which calls it TCP_KEEPALIVE"""

_LINGER = struct.Struct("hh" if sys.platform == "win32" else "ii")
"""linux/socket.h; two unsigned shorts in winsock2.h"""


def mark(sock: socket.socket, value: int) -> None:
    """Mark the socket's packets, by which the pod's rules know them. Needs CAP_NET_ADMIN."""
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, value)


def transparent(sock: socket.socket) -> None:
    """Allow addresses that are not this namespace's. Needs CAP_NET_ADMIN or CAP_NET_RAW."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)


def free_bind(sock: socket.socket) -> None:
    """Allow binding to an address that no link carries."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)


def bind_without_port(sock: socket.socket) -> None:
    """Let `connect` choose the port, per peer: a bind to port 0 would take one from all peers at once."""
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)


def disguise(sock: socket.socket) -> None:
    """Allow the socket to bear another's address, on a port that is chosen at connect.

    A socket that took a port when bound would use up 28,000 ports for all apps together.
    """
    transparent(sock)
    free_bind(sock)
    bind_without_port(sock)


def no_delay(sock: socket.socket) -> None:
    """Send small segments at once: Nagle's delay adds up over four sockets."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def keep_alive(sock: socket.socket, *, idle_s: int, interval_s: int, probes: int) -> None:
    """Notice a peer that vanished without a word."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_KEEPIDLE, idle_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)


def user_timeout(sock: socket.socket, timeout_ms: int) -> None:
    """Give up when sent data stays unacknowledged that long."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def reset_on_close(sock: socket.socket, on: bool) -> None:
    """Make `close`, and the process's death, send RST (on) or FIN after what is queued (off)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1 if on else 0, 0))


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that were given to the socket and that its peer's host has not acknowledged; 0 where unknown."""
    try:
        from fcntl import ioctl  # noqa: PLC0415  not on Windows, where nobody tells either
    except ImportError:
        return 0
    if sys.platform != "linux":
        return 0
    return int.from_bytes(ioctl(sock.fileno(), SIOCOUTQ, bytes(4)), sys.byteorder)
