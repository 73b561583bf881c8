"""Plaintext from outside the mesh, captured on 15006. It proves no identity, and policies know that."""

from __future__ import annotations

import socket
from time import monotonic_ns

from proxy.listeners.connection import Pod, assert_allowed, recorded, service_of, source_of
from proxy.listeners.verdict import Refused, note_end
from proxy.net import original_destination
from proxy.rbac import Facts
from proxy.relay.plain import plain_relay
from proxy.routing import ILLEGAL_PORTS, INBOUND_PORT
from proxy.state.model import SocketAddress, Workload, authority
from proxy.telemetry import ConnectionRecord, Direction, Outcome


class Passthrough:
    """Serves one pod's inbound plaintext listener."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._context = pod.context

    async def serve(self, sock: socket.socket, peer: SocketAddress) -> None:
        """Carry one connection to its end. The bytes are not looked at."""
        self._context.stats.accepted_inbound_plaintext += 1
        record = ConnectionRecord(direction=Direction.INBOUND, source_address=peer)
        with self._context.telemetry.accepted(Direction.INBOUND), recorded(self._context, record):
            await self._carry(sock, record)

    async def _carry(self, sock: socket.socket, record: ConnectionRecord) -> None:
        context = self._context
        target = original_destination(sock, INBOUND_PORT)
        record.destination_address = target
        record.phases.original_destination_ns = monotonic_ns()
        state, own = await self._pod.own.wait()
        check_target(target, own)
        record.destination = own
        peer_address = record.source_address[0]
        record.source = source_of(state, own, peer_address)
        record.service = service_of(state, own, target[1])
        context.telemetry.opened(record)
        facts = Facts(peer_address, None, *target)
        with self._pod.live.registered(facts, record) as live:
            assert_allowed(context, state, own, facts, record)
            seen_as = peer_address if context.settings.original_source else None
            app = await self._pod.dialer.dial(target, source=seen_as)
            record.phases.app_connect_ns = monotonic_ns()
            context.telemetry.note_own_end(record, app)
            record.outcome = Outcome.PASSTHROUGH
            record.carrier = relay = plain_relay(context.settings.relay, sock, app)
            note_end(record, await live.run(relay))


def check_target(target: SocketAddress, own: Workload) -> None:
    """Whether a captured connection may be dialled on.

    Raises:
        Refused: It was made to the proxy itself, without redirection, or is not this pod's to serve.
    """
    address, port = target
    if port in ILLEGAL_PORTS:
        raise Refused(f"self call: {authority(target)} is a port of the proxy itself")
    if address not in own.addresses:
        raise Refused(f"{authority(target)} is no address of {own.namespace}/{own.name}")
