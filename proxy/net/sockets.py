"""The sockets that the proxy makes inside pods' namespaces: listeners and outgoing ones."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from functools import cache

from proxy.net import options
from proxy.net.address import SocketName
from proxy.net.namespace import inside

BACKLOG = 128
"""Connections that may wait for accept; ztunnel's value."""
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
"""Not on macOS and Windows."""
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY})
_ANSWERS_TWICE = sys.platform == "linux"
"""Linux answers a repeated connect with the outcome of the first (net/ipv4/af_inet.c, SS_CONNECTING);
elsewhere it may be an error in itself."""


def socket_in(netns_fd: int | None, family: socket.AddressFamily) -> socket.socket:
    """A non-blocking TCP socket that belongs to the namespace; None: to the process's own network."""
    (sock,) = sockets_in(netns_fd, family, 1)
    return sock


def sockets_in(netns_fd: int | None, family: socket.AddressFamily, count: int) -> list[socket.socket]:
    """As many of them, for one way into the namespace and back. All, or none and OSError."""
    if netns_fd is None:
        return _sockets(family, count)
    with inside(netns_fd):
        return _sockets(family, count)


def _sockets(family: socket.AddressFamily, count: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            made.append(socket.socket(family, socket.SOCK_STREAM | _NONBLOCK))
            if not _NONBLOCK:
                made[-1].setblocking(False)
    except OSError:
        for sock in made:
            sock.close()
        raise
    return made


@cache
def kernel_has_ipv6() -> bool:
    """Whether sockets of IPv6 exist here at all: a kernel may be built or started without (ipv6.disable=1).

    Where IPv6 is merely switched off for a namespace's links they exist, and `::` takes IPv4 as well.

    Raises:
        OSError: It cannot be told, for example for want of descriptors.
    """
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as exc:
        if exc.errno == errno.EAFNOSUPPORT:
            return False
        raise
    return True


def listen(
    netns_fd: int | None,
    address: str,
    port: int,
    *,
    mark: int | None,
    transparent: bool,
    reuse_port: bool = True,
    backlog: int = BACKLOG,
) -> socket.socket:
    """A non-blocking listener inside the namespace.

    Args:
        netns_fd: The namespace; None is the process's own network.
        address: `::` listens on IPv4 as well; `0.0.0.0` on IPv4 alone.
        port: 0 takes a free one.
        mark: SO_MARK, which accepted sockets inherit; None leaves it out.
        transparent: IP_TRANSPARENT, which TPROXY and accepted connections to foreign addresses need.
        reuse_port: Whether a second proxy may listen beside this one, to take over from it.
        backlog: Connections that may wait.

    Raises:
        OSError: With address and port in its message.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket_in(netns_fd, family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if transparent:
                # A dual-stack socket looks at the IPv4 flag for IPv4 peers.
                sock.setsockopt(socket.IPPROTO_IP, options.IP_TRANSPARENT, 1)
        if transparent:
            options.transparent(sock)
        if mark is not None:
            options.mark(sock, mark)
        sock.bind((address, port))
        sock.listen(backlog)
    except OSError as exc:
        sock.close()
        where = "" if netns_fd is None else " in the pod's namespace"
        raise OSError(exc.errno, f"listen on [{address}]:{port}{where}: {exc.strerror}") from exc
    return sock


def connect_sockets(
    netns_fd: int | None, family: socket.AddressFamily, count: int, *, mark: int
) -> list[socket.socket]:
    """Non-blocking outgoing sockets of the namespace, marked so that the pod's rules let them pass.

    All, or none and OSError. In the process's own network (None) no rules wait, and a mark needs a right.
    """
    socks = sockets_in(netns_fd, family, count)
    try:
        for sock in socks:
            if netns_fd is not None:
                options.mark(sock, mark)
            options.no_delay(sock)
    except OSError:
        for sock in socks:
            sock.close()
        raise
    return socks


async def connect(sock: socket.socket, address: SocketName, *, timeout_s: float) -> None:
    """Connect a non-blocking socket to a numeric address.

    Within one machine the handshake is over when the system call returns, though the call cannot say so
    yet: it is asked a second time, and then nothing is waited for, nor any timer set. The loop's own
    `sock_connect` always waits, with uvloop for a thread that resolves names.

    Raises:
        TimeoutError: No answer in time.
        OSError: Refused, no route, no port left.
    """
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS and _ANSWERS_TWICE:
        error = sock.connect_ex(address)
    if error in _UNDER_WAY:
        loop, fd = asyncio.get_running_loop(), sock.fileno()
        answered = loop.create_future()
        loop.add_writer(fd, _settle, answered)
        try:
            async with asyncio.timeout(timeout_s):
                await answered
        finally:
            loop.remove_writer(fd)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _settle(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_result(None)
