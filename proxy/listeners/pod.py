"""One pod's listeners: outbound, inbound HBONE, inbound plaintext; their start, drain and end."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack
from functools import partial

from proxy.context import Context
from proxy.inpod.api import PodInfo
from proxy.listeners.acceptor import Acceptor, Handler, Tasks
from proxy.listeners.connection import Pod
from proxy.listeners.inbound import Inbound
from proxy.listeners.outbound import Outbound
from proxy.listeners.passthrough import Passthrough
from proxy.listeners.workload import OwnWorkload
from proxy.net import Netns, listen
from proxy.pool import Pool
from proxy.routing import HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT
from proxy.state.mesh import MeshState

log = logging.getLogger("proxy.listeners")


class Listeners:
    """Starts the listeners of pods, and knows which pods of this node it serves."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods: dict[tuple[str, str], Pod] = {}

    async def start(self, pod: PodInfo, netns: Netns) -> PodHandle:
        """Listen inside `netns`.

        Raises:
            OSError: One of the ports cannot be had; none is held then.
        """
        context, settings = self._context, self._context.settings
        with ExitStack() as made:
            sockets = [
                made.enter_context(self._listen(netns, port))
                for port in (OUTBOUND_PORT, HBONE_PORT, INBOUND_PORT)
            ]
            made.pop_all()
        served = Pod(
            info=pod,
            netns=netns,
            context=context,
            pool=Pool(max_streams=settings.max_streams, idle_s=settings.tunnel_idle_s, stats=context.stats),
            tasks=Tasks(context.tasks),
            own=OwnWorkload(context.store, pod, wait_s=settings.readiness_wait_s),
            siblings=self._pods,
        )
        self._pods[pod.namespace, pod.name] = served
        return PodHandle(served, sockets)

    def _listen(self, netns: Netns, port: int) -> socket.socket:
        settings = self._context.settings
        return listen(
            netns.fd,
            "::" if settings.ipv6 else "0.0.0.0",  # noqa: S104  the pod's own namespace
            port,
            mark=settings.packet_mark,
            transparent=True,
            reuse_port=settings.port_reuse,
        )


class PodHandle:
    """A pod's running listeners."""

    def __init__(self, pod: Pod, sockets: list[socket.socket]) -> None:
        """Begin to accept. `sockets` are the outbound, the HBONE and the plaintext listener."""
        self._pod = pod
        self._inbound = Inbound(pod)
        handlers: list[tuple[str, Handler]] = [
            ("outbound", Outbound(pod).serve),
            ("inbound", self._inbound.serve),
            ("passthrough", Passthrough(pod).serve),
        ]
        context = pod.context
        self._acceptors = [
            Acceptor(sock, handler, pod.tasks, context.settings, name=f"{name} {pod.info}")
            for (name, handler), sock in zip(handlers, sockets, strict=True)
        ]
        context.tunnels.add(pod.pool)
        self._unsubscribe = context.store.subscribe(partial(_recheck, pod))
        self._closed = False

    async def drain(self, deadline_s: float) -> None:
        """Stop to accept, let live connections finish, cut them at the deadline; then as `close`."""
        self._stop_accepting()
        self._inbound.drain()
        self._pod.pool.drop_tunnels()
        if not await self._pod.tasks.wait(deadline_s):
            log.info("drain incomplete pod=%s connections=%d", self._pod.info, len(self._pod.tasks))
        await self.close()

    async def close(self) -> None:
        """Stop at once; reset what lives."""
        self._stop_accepting()
        if self._closed:
            return
        self._closed = True
        self._unsubscribe()
        await self._pod.tasks.cancel()
        await self._pod.pool.close(CLOSE_S)
        self._pod.context.tunnels.remove(self._pod.pool)
        key = (self._pod.info.namespace, self._pod.info.name)
        if self._pod.siblings.get(key) is self._pod:  # not when a pod of that name has come since
            del self._pod.siblings[key]

    def _stop_accepting(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()


CLOSE_S = 1.0
"""How long closed tunnels may take to say so."""


def _recheck(pod: Pod, state: MeshState) -> None:
    """Cut the pod's live connections that its policies forbid by now."""
    known = pod.own.known()
    if known is None or not len(pod.live):
        return
    denied = pod.live.recheck(state.policies_for(known[1]))
    if denied:
        log.info("policy change pod=%s cut=%d live=%d", pod.info, len(denied), len(pod.live))
