"""Plaintext from outside the mesh, captured on 15006. It proves no identity, and policies know that."""

from __future__ import annotations

import socket
from time import monotonic_ns

from proxy.listeners.connection import Pod, assert_allowed, recorded, service_of, source_of
from proxy.listeners.patience import while_app_waits
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
        self._check(target, own)
        record.destination = own
        peer_address = record.source_address[0]
        record.source = source_of(state, own, peer_address)
        record.service = service_of(state, own, target[1])
        context.telemetry.opened(record)
        facts = Facts(peer_address, None, *target)
        with self._pod.live.registered(facts, record) as live:
            assert_allowed(context, state, own, facts, record)
            seen_as = peer_address if context.settings.original_source else None
            with while_app_waits(sock, self._pod.dialer.netns_fd):
                app = await self._pod.dialer.dial(target, source=seen_as)
            record.phases.app_connect_ns = monotonic_ns()
            context.telemetry.note_own_end(record, app)
            record.outcome = Outcome.PASSTHROUGH
            record.carrier = relay = plain_relay(context.settings.relay, sock, app)
            note_end(record, await live.run(relay))

    def _check(self, target: SocketAddress, own: Workload) -> None:
        """Whether a captured connection may be dialled on.

        Any address of the pod will do: those of further interfaces are in no document. Elsewhere nothing is
        passed on: that would go out as the pod's own, past its redirection.

        Raises:
            Refused: It was made to the proxy itself, or to an address that the pod has not.
        """
        address, port = target
        if port in ILLEGAL_PORTS:
            raise Refused(f"self call: {authority(target)} is a port of the proxy itself")
        if address not in own.addresses and not self._pod.dialer.is_local(address):
            raise Refused(f"{authority(target)} is no address of {own.namespace}/{own.name}")
