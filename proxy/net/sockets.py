"""The sockets that the proxy makes inside pods' namespaces: listeners and outgoing ones."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address

from proxy.net import options
from proxy.net.namespace import inside

BACKLOG = 128
"""Connections that may wait for accept; ztunnel's value."""


def socket_in(netns_fd: int, family: socket.AddressFamily) -> socket.socket:
    """A non-blocking TCP socket that belongs to the namespace."""
    with inside(netns_fd):
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def listen(
    netns_fd: int,
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
        netns_fd: The namespace.
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
        raise OSError(
            exc.errno, f"listen on [{address}]:{port} in the pod's namespace: {exc.strerror}"
        ) from exc
    return sock


def connect_socket(netns_fd: int, family: socket.AddressFamily, *, mark: int) -> socket.socket:
    """A non-blocking outgoing socket of the namespace, marked so that the pod's rules let it pass."""
    sock = socket_in(netns_fd, family)
    try:
        options.mark(sock, mark)
        options.no_delay(sock)
    except OSError:
        sock.close()
        raise
    return sock


def freebind(sock: socket.socket, client: IPv4Address | IPv6Address) -> None:
    """Bind to the client's own address, so that the app sees who really calls.

    The port is chosen at connect: a socket that took one now would use up 28,000 ports for all apps together.
    """
    options.transparent(sock)
    options.free_bind(sock)
    options.bind_without_port(sock)
    sock.bind((str(client), 0))
