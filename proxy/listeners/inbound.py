"""HBONE from other proxies, on 15008: authenticate, check whom they ask for, judge, connect, carry."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic_ns

from h2.errors import ErrorCodes

from proxy.hbone.authority import Authority
from proxy.hbone.events import Header
from proxy.hbone.headers import parse_request
from proxy.identity.spiffe import SpiffeId
from proxy.listeners.baggage import baggage, claims
from proxy.listeners.connection import Pod, StreamCarrier, assert_allowed, recorded, service_of, source_of
from proxy.listeners.limits import server_limits, timing
from proxy.listeners.verdict import EXPECTED, Refused, note, note_end, status
from proxy.net import options
from proxy.net.address import address
from proxy.rbac import Facts
from proxy.relay.stream import StreamRelay
from proxy.routing import HBONE_PORT, ILLEGAL_PORTS
from proxy.state.model import IPAddress, SocketAddress
from proxy.telemetry import ConnectionRecord, Direction, Outcome
from proxy.tunnel.errors import TunnelLost
from proxy.tunnel.server import ServerTunnel
from proxy.tunnel.stream import TunnelStream


class Inbound:
    """Serves one pod's HBONE listener."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._context = pod.context
        self._timing = timing(pod.context.settings)
        self._tunnels: dict[ServerTunnel, None] = {}
        self._draining = False

    async def serve(self, sock: socket.socket, peer: SocketAddress) -> None:
        """Accept one tunnel and wait for its end; its requests are tasks of their own."""
        self._context.stats.accepted_inbound += 1
        with self._context.telemetry.accepted(Direction.INBOUND):
            await self._serve(sock, peer)

    async def _serve(self, sock: socket.socket, peer: SocketAddress) -> None:
        local = sock.getsockname()
        pod_address = address(local[0])
        try:
            tunnel = await self._accept(sock)
        except EXPECTED as exc:
            self._record_failure(exc, peer, (pod_address, local[1]), None)
            return
        over = asyncio.Event()
        tunnel.on_closed = over.set
        name = f"connect {peer[0]}:{peer[1]}"
        tunnel.requested = lambda stream, headers: self._requested(stream, headers, peer, pod_address, name)
        self._tunnels[tunnel] = None
        self._context.stats.tunnels_inbound += 1
        try:
            tunnel.start()
            if self._draining:
                tunnel.drain()  # it was shaking hands when the others were told
            await over.wait()
        finally:
            self._context.stats.tunnels_inbound -= 1
            del self._tunnels[tunnel]
            tunnel.abort("proxy is shutting down")
            del tunnel.requested  # which refers to the tunnel
        if tunnel.fault is not None:
            self._context.stats.faults[tunnel.fault] += 1
            lost = TunnelLost(tunnel.close_reason)
            self._record_failure(lost, peer, (pod_address, local[1]), tunnel.peer)

    def _record_failure(
        self, error: Exception, peer: SocketAddress, local: SocketAddress, identity: SpiffeId | None
    ) -> None:
        """The tunnel as such has a line of its own only when it failed."""
        record = ConnectionRecord(
            direction=Direction.INBOUND,
            source_address=peer,
            source_identity=identity,
            destination_address=local,
        )
        note(record, error)
        self._context.telemetry.complete(record)

    def drain(self) -> None:
        """Tell all peers to open no more streams here, those whose tunnel is yet to come included."""
        self._draining = True
        for tunnel in list(self._tunnels):
            tunnel.drain()

    async def _accept(self, sock: socket.socket) -> ServerTunnel:
        state, own = await self._pod.own.wait()
        tls = await self._context.identities.server_context(own.identity)
        return await ServerTunnel.accept(
            sock,
            tls,
            trust_domains=state.trusted_by(own),
            limits=server_limits(self._context),
            timing=self._timing,
            stats=self._context.stats,
        )

    def _requested(
        self,
        stream: TunnelStream,
        headers: list[Header],
        peer: SocketAddress,
        pod_address: IPAddress,
        name: str,
    ) -> None:
        self._context.stats.connects_received += 1
        record = ConnectionRecord(
            direction=Direction.INBOUND,
            source_address=peer,
            source_identity=stream.tunnel.peer,
            destination_address=(pod_address, HBONE_PORT),
        )
        record.stream_id, record.phases.tunnel_ns = stream.stream_id, stream.tunnel.shaken_ns
        self._pod.tasks.start(
            self._answer(stream, headers, record, pod_address),
            name=f"{name}/{stream.stream_id}",
        )

    async def _answer(
        self, stream: TunnelStream, headers: list[Header], record: ConnectionRecord, pod_address: IPAddress
    ) -> None:
        """Serve one CONNECT to its end. The 200 comes after policy and the app's connect, not before."""
        stats, admission = self._context.stats, self._context.admission
        source = record.source_address[0]
        with recorded(self._context, record):
            forbidden = admission.take(source)
            try:
                if forbidden is not None:
                    admission.refused += 1
                    raise Refused(f"over the limit of {forbidden}")
                await self._carry(stream, headers, record, pod_address)
            except EXPECTED as exc:
                if status(exc) == 401:
                    stats.connects_denied += 1
                else:
                    stats.connects_failed += 1
                stream.refuse(status(exc))
                raise
            finally:
                stream.reset(ErrorCodes.CANCEL)  # nothing when it has ended, as it should
                if forbidden is None:
                    admission.release(source)

    async def _carry(
        self, stream: TunnelStream, headers: list[Header], record: ConnectionRecord, pod_address: IPAddress
    ) -> None:
        context = self._context
        request = parse_request(headers)
        record.trace_id, record.hbone_address = request.traceparent[3:35], str(request.authority)
        target = check_target(request.authority, pod_address)
        state, own = await self._pod.own.wait()
        record.destination, record.destination_identity = own, own.identity
        peer_address = record.source_address[0]
        record.source = source_of(state, own, peer_address)
        record.claims = claims(request.baggage) if record.source is None else None
        record.service = service_of(state, own, target[1], named=request.forwarded_host)
        context.telemetry.opened(record)
        facts = Facts(peer_address, record.source_identity, *target)
        with self._pod.live.registered(facts, record) as live:
            assert_allowed(context, state, own, facts, record)
            seen_as = peer_address if context.settings.original_source else None
            app = await self._pod.dialer.dial(target, source=seen_as)
            with app:
                record.phases.app_connect_ns = monotonic_ns()
                context.telemetry.note_own_end(record, app)
                try:
                    live.check()
                    record.phases.answered_ns = monotonic_ns()
                    stream.accept(baggage=baggage(own) if context.settings.response_baggage else None)
                except EXPECTED:
                    # Nothing was said on it; a FIN would leave a port in TIME_WAIT for every request that
                    # is taken back while it is served.
                    options.reset_on_close(app, on=True)
                    raise
                record.outcome = Outcome.HBONE
                context.stats.connects_accepted += 1
                loop, code = asyncio.get_running_loop(), ErrorCodes.CONNECT_ERROR
                relay = StreamRelay(loop, app, stream, reset_code=code, app_waits=False)
                record.carrier = StreamCarrier(relay, opened_by_app=False)
                note_end(record, await live.run(relay))


def check_target(authority: Authority, pod_address: IPAddress) -> SocketAddress:
    """Whom to dial for a request that reached `pod_address`.

    Raises:
        Refused: 400 when it names another address than the one it reached (ztunnel's IPMismatch);
            503 for names, which nobody here resolves, and for the proxy's own ports.
    """
    host, port = authority.host, authority.port
    if isinstance(host, str):
        raise Refused(f"authority {authority}: unknown host name")
    if host != pod_address:
        raise Refused(f"ip mismatch: {host} != {pod_address}", status=400)
    if port in ILLEGAL_PORTS:
        raise Refused(f"self call: {authority} is a port of the proxy itself")
    return pod_address, port
