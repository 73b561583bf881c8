"""Accept, ask over SOCKS5, answer, and hand over to the outbound path."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from time import monotonic_ns

from proxy.context import Context
from proxy.explicit.names import Names
from proxy.explicit.socks import NO_ACCEPTABLE_METHOD, VERSION, Negotiation, NotSocks, Reply, reply
from proxy.inpod.api import PodInfo
from proxy.listeners.connection import Pod, recorded, served_pod
from proxy.listeners.dial import Unreachable
from proxy.listeners.outbound import Outbound
from proxy.listeners.pod import Serving
from proxy.listeners.verdict import EXPECTED, Denied, Refused
from proxy.net import Here, Netns, listen, options
from proxy.state.model import IPAddress, SocketAddress, authority
from proxy.telemetry import ConnectionRecord, Direction


class ExplicitListeners:
    """In the place of a node's pods stands one: this process itself, for the workload of its settings."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def start(self, pod: PodInfo, netns: Netns | Here) -> Serving:
        """Listen.

        Raises:
            OSError: The address cannot be had.
        """
        host, port = self._context.settings.socks_listen
        sock = listen(netns.fd, host, port, mark=None, transparent=False, reuse_port=False)
        served = served_pod(self._context, pod, netns, siblings={})
        return Serving(served, [("socks", sock, Socks(served).serve)])


class Socks:
    """Serves the SOCKS5 listener."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._context = pod.context
        self._names = Names(pod.context.settings)
        self._outbound = Outbound(pod)

    async def serve(self, sock: socket.socket, peer: SocketAddress) -> None:
        """Carry one connection to its end, or tell the client why not."""
        self._context.stats.accepted_outbound += 1
        record = ConnectionRecord(direction=Direction.OUTBOUND, source_address=peer)
        with self._context.telemetry.accepted(Direction.OUTBOUND), recorded(self._context, record):
            try:
                destination = await self._asked(sock, record)
                await self._outbound.carry(sock, record, destination, reached=partial(_succeed, sock))
            except EXPECTED as exc:
                _part(sock, reply(_code(exc)))
                raise

    async def _asked(self, sock: socket.socket, record: ConnectionRecord) -> SocketAddress:
        """Whom the client asks for.

        Raises:
            Refused: The client is one too many, speaks something else, too slowly, or asks for this host.
            Unreachable: The name is nobody's.
        """
        settings = self._context.settings
        if len(self._pod.tasks) > settings.socks_connections:
            _part(sock, bytes((VERSION, NO_ACCEPTABLE_METHOD)))
            raise Refused(f"more than PYZTUNNEL_SOCKS_CONNECTIONS={settings.socks_connections} connections")
        try:
            async with asyncio.timeout(settings.handshake_timeout_s):
                host, port = await _negotiate(sock)
        except TimeoutError as exc:
            raise Refused(f"no SOCKS request in {settings.handshake_timeout_s:g} s") from exc
        except OSError as exc:
            raise Refused(f"client left during the SOCKS negotiation: {exc.strerror or exc}") from exc
        except NotSocks as exc:
            _part(sock, exc.answer)
            raise Refused(str(exc)) from exc
        state, source = await self._pod.own.wait()
        if isinstance(host, str):
            host = await self._names.resolve(state, source, host)
        record.phases.original_destination_ns = monotonic_ns()
        if _of_this_host(host) and state.workload_at(host, source.network) is None:
            record.destination_address = host, port
            raise Refused(f"{authority((host, port))} is this host itself, where the proxy's own ports are")
        if port == sock.getsockname()[1] and self._pod.dialer.is_local(host):
            record.destination_address = host, port
            raise Refused(f"self call: {authority((host, port))} is where the proxy itself listens")
        return host, port


async def _negotiate(sock: socket.socket) -> tuple[IPAddress | str, int]:
    loop = asyncio.get_running_loop()
    negotiation = Negotiation()
    while negotiation.target is None:
        data = await loop.sock_recv(sock, negotiation.wants)
        if not data:
            raise NotSocks("client ended during the SOCKS negotiation")
        answer = negotiation.receive(data)
        if answer:
            await loop.sock_sendall(sock, answer)
    return negotiation.target


def _of_this_host(host: IPAddress) -> bool:
    return host.is_loopback or host.is_unspecified or host.is_multicast


def _succeed(sock: socket.socket) -> None:
    """Ten bytes behind two: they fit, unless the client has gone, which the relay will see."""
    try:
        sock.send(reply(Reply.SUCCEEDED))
    except OSError:
        return


def _part(sock: socket.socket, answer: bytes) -> None:
    """Say a last word and let it arrive: accepted sockets reset when closed, which would overtake it.

    A connection that was being carried is closed already, and needs none.
    """
    if sock.fileno() < 0:
        return
    try:
        options.reset_on_close(sock, on=False)
        sock.send(answer)
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the client left first
    sock.close()


def _code(error: Exception) -> Reply:
    match error:
        case Denied() | Refused():
            return Reply.NOT_ALLOWED
        case Unreachable(timed_out=True):
            return Reply.HOST_UNREACHABLE
        case Unreachable():
            return Reply.CONNECTION_REFUSED
        case _:
            return Reply.GENERAL_FAILURE
