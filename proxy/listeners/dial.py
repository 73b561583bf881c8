"""Connecting to somewhere from inside a pod's namespace."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

from proxy.config import Settings
from proxy.net import connect, connect_socket, freebind, options
from proxy.routing import HBONE_PORT
from proxy.state.model import IPAddress, SocketAddress, authority


class Unreachable(Exception):
    """A connection did not come about; the message says to where, how, and what to look at."""

    def __init__(self, message: str, *, timed_out: bool) -> None:
        super().__init__(message)
        self.timed_out = timed_out


def tune(sock: socket.socket, settings: Settings) -> None:
    """The options that every socket of a connection has, accepted or opened."""
    options.no_delay(sock)
    if settings.keepalive:
        options.keep_alive(
            sock,
            idle_s=round(settings.keepalive_idle_s),
            interval_s=round(settings.keepalive_interval_s),
            probes=settings.keepalive_probes,
        )
    if settings.user_timeout:
        length_s = settings.keepalive_idle_s + settings.keepalive_interval_s * settings.keepalive_probes
        options.user_timeout(sock, round(length_s * 1000))


async def dial(
    netns_fd: int | None, destination: SocketAddress, settings: Settings, *, source: IPAddress | None = None
) -> socket.socket:
    """A connected socket.

    Args:
        source: Whom the other side shall see; None: the pod itself. So is one of the other family, as
            after an IPv6 service address led to a workload that has IPv4 alone: no packet could say it.

    Raises:
        Unreachable: Refused, no route, no port left, or no answer in time.
    """
    address, port = destination
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    sock: socket.socket | None = None
    try:
        sock = connect_socket(netns_fd, family, mark=settings.packet_mark)
        tune(sock, settings)
        if source is not None and source.version == address.version:
            freebind(sock, source)
        await connect(sock, (str(address), port), timeout_s=settings.connect_timeout_s)
    except BaseException as exc:
        if sock is not None:
            sock.close()
        where = f"connect to {authority(destination)}" + (f" from {source}" if source is not None else "")
        if isinstance(exc, TimeoutError):
            hint = ": maybe a NetworkPolicy is blocking HBONE port 15008" if port == HBONE_PORT else ""
            message = f"{where}: no answer in {settings.connect_timeout_s:g} s{hint}"
            raise Unreachable(message, timed_out=True) from exc
        if isinstance(exc, OSError):
            raise Unreachable(f"{where}: {exc.strerror or exc}", timed_out=False) from exc
        raise
    return sock
