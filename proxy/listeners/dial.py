"""Connecting to somewhere from inside a pod's namespace, with sockets that were made ahead.

A socket of a namespace is eleven system calls before it can connect: entering and leaving, making it, its
mark and its options. Nobody need wait for them: a few sockets are made at a time, after the connection
that took the last one was served.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Final, NamedTuple

from proxy.config import Settings
from proxy.net import Here, Netns, connect, connect_sockets, is_local, options
from proxy.net.address import socket_name
from proxy.routing import HBONE_PORT
from proxy.state.model import IPAddress, SocketAddress, authority

AHEAD: Final = 4
"""Sockets of a kind that are made at once: enough to share the way into the namespace and back, few enough
to hold nobody up (0.1 ms), and for every pod to have some."""
AHEAD_S: Final = 0.002
"""How long after the last one was taken: longer than its connection needs to its first byte."""


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


class _Kind(NamedTuple):
    family: socket.AddressFamily
    disguised: bool
    """Whether it may bear the address of somebody else."""


class Dialer:
    """Connects from one pod. Owns the sockets that nobody has asked for yet."""

    def __init__(self, netns: Netns | Here, settings: Settings) -> None:
        self._netns = netns
        self._settings = settings
        self._ahead: dict[_Kind, list[socket.socket]] = {}
        self._due: dict[_Kind, asyncio.TimerHandle] = {}
        self._closed = False

    @property
    def netns_fd(self) -> int | None:
        """The pod's namespace; None: the process's own network."""
        return self._netns.fd

    def close(self) -> None:
        """Make no more, and let go of those that are left."""
        self._closed = True
        for handle in self._due.values():
            handle.cancel()
        for socks in self._ahead.values():
            while socks:
                socks.pop().close()

    def is_local(self, address: IPAddress) -> bool:
        """Whether an address is of the pod itself, whether or not its workload lists it.

        Raises:
            Unreachable: Nobody can tell now.
        """
        try:
            return is_local(self._netns.fd, address)
        except OSError as exc:
            message = f"look whether {address} is the pod's own: {exc.strerror or exc}"
            raise Unreachable(message, timed_out=False) from exc

    async def dial(self, destination: SocketAddress, *, source: IPAddress | None = None) -> socket.socket:
        """A connected socket.

        Args:
            source: Whom the other side shall see; None: the pod itself. So is one of the other family, as
                after an IPv6 service address led to a workload that has IPv4 alone: no packet could say it.

        Raises:
            Unreachable: Refused, no route, no port left, or no answer in time.
        """
        address, port = destination
        settings = self._settings
        seen_as = source if source is not None and source.version == address.version else None
        sock: socket.socket | None = None
        try:
            sock = self._take(_Kind(_FAMILIES[address.version], seen_as is not None))
            if seen_as is not None:
                sock.bind((str(seen_as), 0))
            await connect(sock, socket_name(address, port), timeout_s=settings.connect_timeout_s)
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

    def _take(self, kind: _Kind) -> socket.socket:
        ahead = self._ahead.get(kind)
        if ahead:
            sock = ahead.pop()
        else:
            (sock,) = self._made(kind, 1)
        if not ahead and kind not in self._due and not self._closed:
            loop = asyncio.get_running_loop()
            self._due[kind] = loop.call_later(AHEAD_S, partial(self._make_ahead, kind))
        return sock

    def _make_ahead(self, kind: _Kind) -> None:
        del self._due[kind]
        try:
            self._ahead[kind] = self._made(kind, AHEAD)
        except OSError:
            return  # no descriptors are left, or the namespace is gone: the next to dial is told

    def _made(self, kind: _Kind, count: int) -> list[socket.socket]:
        socks = connect_sockets(self._netns.fd, kind.family, count, mark=self._settings.packet_mark)
        try:
            for sock in socks:
                tune(sock, self._settings)
                if kind.disguised:
                    options.disguise(sock)
        except OSError:
            for sock in socks:
                sock.close()
            raise
        return socks


_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
