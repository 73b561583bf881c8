"""`same_node = plaintext`: from one pod of this node to another without a tunnel.

What ztunnel did until 2024 (its change 915 ended it) and the literature still describes. The bytes go
from the source's socket straight to the app in the destination's namespace; the destination's
policies hold all the same, with the identity that this proxy itself vouches for at both ends.
"""

from __future__ import annotations

import socket
from time import monotonic_ns

from proxy.listeners.connection import Pod, assert_allowed
from proxy.listeners.patience import while_app_waits
from proxy.listeners.verdict import note_end
from proxy.rbac import Facts
from proxy.relay.plain import plain_relay
from proxy.routing import Plaintext
from proxy.state.mesh import MeshState
from proxy.state.model import Workload
from proxy.telemetry import ConnectionRecord, Outcome


class Local:
    """Connects one pod to its siblings."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod

    def serves(self, way: Plaintext) -> bool:
        """Whether the destination is a pod that this proxy serves."""
        return self._sibling(way) is not None

    async def carry(
        self,
        sock: socket.socket,
        record: ConnectionRecord,
        state: MeshState,
        source: Workload,
        way: Plaintext,
    ) -> None:
        """Judge, connect and carry.

        Raises:
            Denied: The destination's policies forbid it.
            Unreachable: The app does not answer.
        """
        sibling, workload = self._sibling(way), way.workload
        if sibling is None or workload is None:
            raise LookupError(f"{way.address} is no pod of this node")
        context, address = self._pod.context, record.source_address[0]
        facts = Facts(address, source.identity, *way.address)
        with sibling.live.registered(facts, record) as live:
            assert_allowed(context, state, workload, facts, record)
            seen_as = address if context.settings.original_source else None
            with while_app_waits(sock, self._pod.dialer.netns_fd):
                far = await sibling.dialer.dial(way.address, source=seen_as)
            record.phases.app_connect_ns = monotonic_ns()
            context.telemetry.note_own_end(record, far)
            record.outcome = Outcome.PASSTHROUGH
            record.carrier = relay = plain_relay(context.settings.relay, sock, far)
            note_end(record, await live.run(relay))

    def _sibling(self, way: Plaintext) -> Pod | None:
        if way.workload is None:
            return None
        return self._pod.siblings.get((way.workload.namespace, way.workload.name))
