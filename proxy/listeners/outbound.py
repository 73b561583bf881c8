"""What the pod's own apps open, captured on 15001. No policy here: that is the destination's to say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import inf
from time import monotonic, monotonic_ns

from h2.errors import ErrorCodes

from proxy.hbone.headers import new_traceparent, request_headers
from proxy.listeners.baggage import baggage
from proxy.listeners.connection import Pod, StreamCarrier, recorded
from proxy.listeners.limits import client_limits, timing
from proxy.listeners.local import Local
from proxy.listeners.patience import while_app_waits
from proxy.listeners.verdict import Refused, note_end
from proxy.net import original_destination
from proxy.pool import Key, PoolTunnel
from proxy.relay.plain import plain_relay
from proxy.relay.stream import StreamRelay
from proxy.routing import ILLEGAL_PORTS, OUTBOUND_PORT, Hbone, Plaintext, Refuse, route
from proxy.state.model import SocketAddress, Workload, authority
from proxy.telemetry import ConnectionRecord, Direction, Outcome
from proxy.tunnel.client import ClientTunnel
from proxy.tunnel.errors import StreamLost, TunnelLost
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing


class Outbound:
    """Serves one pod's outbound listener."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._context = pod.context
        self._local = Local(pod)
        self._timing: Timing = timing(pod.context.settings)

    async def serve(self, sock: socket.socket, peer: SocketAddress) -> None:
        """Carry one connection to its end."""
        self._context.stats.accepted_outbound += 1
        record = ConnectionRecord(direction=Direction.OUTBOUND, source_address=peer)
        with self._context.telemetry.accepted(Direction.OUTBOUND), recorded(self._context, record):
            await self.carry(sock, record, original_destination(sock, OUTBOUND_PORT), reached=_silently)

    async def carry(
        self,
        sock: socket.socket,
        record: ConnectionRecord,
        destination: SocketAddress,
        *,
        reached: Callable[[], None],
    ) -> None:
        """Route, connect and carry; `reached` is called when the far end answered, before any byte."""
        context = self._context
        record.dialled = record.destination_address = destination
        record.phases.original_destination_ns = monotonic_ns()
        if destination[1] in ILLEGAL_PORTS and self._pod.dialer.is_local(destination[0]):
            # On whichever of the pod's addresses: the connection would come back here again and again.
            raise Refused(f"self call: {authority(destination)} is a port of the proxy itself")
        state, source = await self._pod.own.wait()
        record.source, record.source_identity = source, source.identity
        context.stats.route_resolutions += 1
        way = route(
            state,
            source,
            destination,
            random=context.random,
            same_node=context.switches.same_node,
        )
        record.phases.route_ns = monotonic_ns()
        if isinstance(way, Refuse):
            raise Refused(f"{way.reason.value}: {way.detail}")
        record.destination, record.service = way.workload, way.service
        if isinstance(way, Hbone):
            record.destination_address, record.hbone_address = way.gateway, way.authority
        context.telemetry.opened(record)
        if isinstance(way, Hbone):
            await self._through_tunnel(sock, record, source, way, reached)
        elif way.local and self._local.serves(way):
            await self._local.carry(sock, record, state, source, way)
        else:
            await self._plainly(sock, record, way, reached)

    async def _plainly(
        self, sock: socket.socket, record: ConnectionRecord, way: Plaintext, reached: Callable[[], None]
    ) -> None:
        with while_app_waits(sock, self._pod.dialer.netns_fd):
            far = await self._pod.dialer.dial(way.address)
        record.phases.tcp_ns = monotonic_ns()
        self._context.telemetry.note_own_end(record, far)
        record.outcome = Outcome.PASSTHROUGH
        reached()
        record.carrier = relay = plain_relay(self._context.settings.relay, sock, far)
        note_end(record, await relay.run())

    async def _through_tunnel(
        self,
        sock: socket.socket,
        record: ConnectionRecord,
        source: Workload,
        way: Hbone,
        reached: Callable[[], None],
    ) -> None:
        with while_app_waits(sock, self._pod.dialer.netns_fd):
            stream = await self._connected(record, source, way)
        reached()
        loop = asyncio.get_running_loop()
        relay = StreamRelay(loop, sock, stream, reset_code=ErrorCodes.CANCEL, app_waits=True)
        relay.start()  # the app has waited long enough: what is counted here can wait for its bytes
        record.outcome, record.carrier = Outcome.HBONE, StreamCarrier(relay, opened_by_app=True)
        self._context.stats.streams_opened += 1
        note_end(record, await relay.run())

    async def _connected(self, record: ConnectionRecord, source: Workload, way: Hbone) -> TunnelStream:
        """A stream that was answered with 200.

        No byte of the app leaves before the answer. So where a tunnel turns out to be dead, draining or
        lost before it carried anything, a younger one is tried, once: others of its age may be as dead.
        """
        try:
            stream = await self._answered(record, source, way)
        except (TunnelLost, _Stale):
            stream = await self._answered(record, source, way, opened_since=monotonic())
        record.phases.connect_ns = monotonic_ns()
        if record.phases.tls_ns is not None:
            record.phases.settings_ns = stream.tunnel.settings_ns
        record.destination_identity = stream.tunnel.peer
        return stream

    async def _answered(
        self, record: ConnectionRecord, source: Workload, way: Hbone, *, opened_since: float = -inf
    ) -> TunnelStream:
        """As `_connected`, by one attempt.

        Raises:
            _Stale: Another tunnel may well carry the connection.
            StreamLost: It would not.
        """
        stream, was_there = await self._ask(record, source, way, opened_since=opened_since)
        try:
            await stream.answered()
        except StreamLost as exc:
            tunnel = stream.tunnel
            # RFC 9113 8.7: a refused stream was not processed, as those beyond a GOAWAY.
            stale = exc.code == ErrorCodes.REFUSED_STREAM or (
                not tunnel.usable if was_there else tunnel.over and not tunnel.ready and tunnel.fault is None
            )
            if stale:
                raise _Stale(str(exc), exc.code) from exc
            raise
        return stream

    async def _ask(
        self, record: ConnectionRecord, source: Workload, way: Hbone, *, opened_since: float = -inf
    ) -> tuple[TunnelStream, bool]:
        context = self._context
        traceparent = new_traceparent()
        record.trace_id = traceparent[3:35]
        headers = request_headers(
            way.authority,
            source=record.source_address,
            service=way.service.hostname if way.service is not None else None,
            baggage=baggage(source),
            traceparent=traceparent,
        )
        tls = await context.identities.client_context(source.identity)

        async def opener() -> tuple[PoolTunnel, TunnelStream]:
            begun_ns = monotonic_ns()
            sock = await self._pod.dialer.dial(way.gateway)
            record.phases.tcp_ns = monotonic_ns()
            tunnel, stream = await ClientTunnel.open(
                sock,
                tls,
                expected=way.expected_ids,
                headers=headers,
                limits=client_limits(context),
                timing=self._timing,
                stats=context.stats,
            )
            stream.taken_ns = begun_ns
            record.phases.tls_ns = tunnel.shaken_ns
            return tunnel, stream

        key = Key(source.identity, way.expected_ids, record.source_address[0], way.gateway)
        stream, was_there = await self._pod.pool.stream(
            key,
            tls,
            headers,
            opener,
            reuse=context.switches.reuse,
            opened_since=opened_since,
            per_tunnel=context.switches.streams_per_tunnel,
        )
        phases, record.stream_id = record.phases, stream.stream_id
        phases.pool_ns, phases.connect_sent_ns = stream.taken_ns, stream.asked_ns
        phases.tunnel_ns = stream.tunnel.shaken_ns
        return stream, was_there


class _Stale(StreamLost):
    """A stream was lost because of its tunnel, not because of what was asked."""


def _silently() -> None:
    """A captured connection was accepted long before: nobody waits for a word."""
