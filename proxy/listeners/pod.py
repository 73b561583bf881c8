"""One pod's listeners: outbound, inbound HBONE, inbound plaintext; their start, drain and end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from proxy.context import Context
from proxy.inpod.api import PodInfo
from proxy.listeners.acceptor import Acceptor, Handler
from proxy.listeners.connection import Pod, served_pod
from proxy.listeners.inbound import Inbound
from proxy.listeners.live import Review
from proxy.listeners.outbound import Outbound
from proxy.listeners.passthrough import Passthrough
from proxy.net import Here, Netns, listen
from proxy.routing import HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT

log = logging.getLogger("proxy.listeners")


class Listeners:
    """Starts the listeners of pods, and knows which pods of this node it serves."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods: dict[tuple[str, str], Pod] = {}

    def start(self, pod: PodInfo, netns: Netns | Here) -> PodHandle:
        """Listen inside `netns`.

        Raises:
            OSError: One of the ports cannot be had; none is held then.
        """
        with ExitStack() as made:
            sockets = [
                made.enter_context(self._listen(netns, port))
                for port in (OUTBOUND_PORT, HBONE_PORT, INBOUND_PORT)
            ]
            made.pop_all()
        served = served_pod(self._context, pod, netns, siblings=self._pods)
        self._pods[pod.namespace, pod.name] = served
        return PodHandle(served, sockets)

    def _listen(self, netns: Netns | Here, port: int) -> socket.socket:
        settings = self._context.settings
        return listen(
            netns.fd,
            "::" if settings.ipv6 else "0.0.0.0",  # noqa: S104  the pod's own namespace
            port,
            mark=settings.packet_mark,
            transparent=True,
            reuse_port=settings.port_reuse,
        )


class Serving:
    """Listeners that run for one pod."""

    def __init__(self, pod: Pod, listeners: Iterable[tuple[str, socket.socket, Handler]]) -> None:
        """Begin to accept on each socket."""
        self._pod = pod
        context = pod.context
        self._acceptors = [
            Acceptor(
                sock,
                handler,
                pod.tasks,
                context.settings,
                name=f"{name} {pod.info}",
                admission=context.admission,
            )
            for name, sock, handler in listeners
        ]
        context.tunnels.add(pod.pool)
        context.admission.pods += 1
        review = Review(pod.live, pod.tasks, pod.own.policies, name=str(pod.info))
        self._unsubscribe = context.store.subscribe(lambda _: review.changed())
        self._closed = False

    async def drain(self, deadline_s: float) -> None:
        """Stop to accept, let live connections finish, cut them at the deadline; then as `close`."""
        self.stop_accepting()
        self._pod.pool.drop_tunnels()
        if not await self._pod.tasks.wait(deadline_s):
            log.info("drain incomplete pod=%s connections=%d", self._pod.info, len(self._pod.tasks))
        await self.close()

    async def close(self) -> None:
        """Stop at once; reset what lives."""
        self.stop_accepting()
        if self._closed:
            return
        self._closed = True
        self._pod.context.admission.pods -= 1
        self._unsubscribe()
        await self._pod.tasks.cancel()
        await self._pod.pool.close(CLOSE_S)
        self._pod.dialer.close()
        self._pod.context.tunnels.remove(self._pod.pool)
        key = (self._pod.info.namespace, self._pod.info.name)
        if self._pod.siblings.get(key) is self._pod:  # not when a pod of that name has come since
            del self._pod.siblings[key]

    def stop_accepting(self) -> None:
        """Take no more connections, at once; those that live are not touched."""
        for acceptor in self._acceptors:
            acceptor.close()


class PodHandle(Serving):
    """A captured pod's three listeners."""

    def __init__(self, pod: Pod, sockets: list[socket.socket]) -> None:
        """Begin to accept. `sockets` are the outbound, the HBONE and the plaintext listener."""
        self._inbound = Inbound(pod)
        handlers = (Outbound(pod).serve, self._inbound.serve, Passthrough(pod).serve)
        super().__init__(pod, zip(("outbound", "inbound", "passthrough"), sockets, handlers, strict=True))

    async def drain(self, deadline_s: float) -> None:
        """As above, with the peers told to open no more streams here."""
        self._inbound.drain()
        await super().drain(deadline_s)


CLOSE_S = 1.0
"""How long closed tunnels may take to say so."""
