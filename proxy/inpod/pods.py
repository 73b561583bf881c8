"""The pods served now, and what each of the agent's messages does to them.

Rules for the races between pods that come, go and come again:
- a pod that is there already, in the same namespace, stays as it is;
- the same uid in another namespace, or as somebody else, replaces what was there;
- a pod whose listeners cannot be made is refused, kept in mind and tried again until it is deleted;
- what a new connection's snapshot does not name is removed;
- a pod that is removed takes no more connections from that moment, and ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from proxy.identity.identities import Identities
from proxy.identity.spiffe import InvalidSpiffeId, SpiffeId
from proxy.inpod.api import PodHandle, PodInfo, PodListeners
from proxy.inpod.protocol import Add, Delete, Keep, Request, SnapshotSent
from proxy.net.namespace import Here, Netns
from proxy.tasks import Tasks

log = logging.getLogger("proxy.inpod")

RETRY_S = 5.0
"""Between attempts at pods that failed; as ztunnel."""


class Refused(Exception):
    """A request was not done; the message goes back to the agent."""


@dataclass(slots=True)
class _Served:
    """A pod, running or (without handle) waiting for its next attempt."""

    pod: PodInfo
    netns: Netns | Here
    identity: SpiffeId
    handle: PodHandle | None = None

    def same_as(self, request: Add) -> bool:
        return self.pod == request.pod and self.netns.inode == request.netns.inode


class Pods:
    """All pods of the node that are in the mesh.

    A message is done when `handle` returns: what takes time, the end of a pod, goes on behind it.
    """

    def __init__(
        self, listeners: PodListeners, identities: Identities, *, tasks: Tasks, trust_domain: str
    ) -> None:
        """Nothing is served yet.

        Args:
            listeners: Starts those of a pod.
            identities: Where pods' identities are known while they are served.
            tasks: For the ends of pods.
            trust_domain: Of all of them.
        """
        self._listeners = listeners
        self._identities = identities
        self._tasks = tasks
        self._trust_domain = trust_domain
        self._served: dict[str, _Served] = {}
        self._named: set[str] | None = None
        """Pods that the agent has named since it connected; None once its snapshot is complete."""
        self._snapshot_seen = False
        self.attached = False
        """Whether the agent is connected."""
        self.settled = asyncio.Event()
        """Set when `ready` holds for the first time."""
        self.started = 0
        self.stopped = 0

    @property
    def running(self) -> int:
        """Pods with listeners."""
        return sum(served.handle is not None for served in self._served.values())

    @property
    def pending(self) -> int:
        """Pods whose listeners could not be made yet."""
        return len(self._served) - self.running

    @property
    def ready(self) -> bool:
        """Whether every pod that the agent has named is served. Not without an agent; as ztunnel."""
        return self._snapshot_seen and self.pending == 0

    def describe(self) -> list[tuple[PodInfo, bool]]:
        """The pods that the agent has named, and whether they are served by now."""
        return [(served.pod, served.handle is not None) for served in self._served.values()]

    def connected(self) -> None:
        """A new connection to the agent: a snapshot begins."""
        self._named = set()
        self.attached = True

    def disconnected(self) -> None:
        """The agent has gone. Its pods are served on; whether they are all of them is not known."""
        self._snapshot_seen = self.attached = False

    def handle(self, request: Request) -> None:
        """Do what a message says. Takes over an `Add`'s namespace, whatever happens.

        Raises:
            Refused: It was not done.
        """
        match request:
            case Add():
                self._add(request)
            case Keep(uid):
                self._keep(uid)
            case Delete(uid):
                self._delete(uid)
            case SnapshotSent():
                self._snapshot()

    def retry(self) -> None:
        """Try once more to serve the pods that failed."""
        for served in [served for served in self._served.values() if served.handle is None]:
            try:
                self._start(served)
            except Refused as exc:
                log.warning("pod still not served pod=%s error=%s", served.pod, exc)

    async def run(self) -> None:
        """Retry, for ever."""
        while True:
            await asyncio.sleep(RETRY_S)
            self.retry()

    async def drain(self, deadline_s: float) -> None:
        """Stop to accept in all pods at once, let connections finish, cut them at the deadline."""
        leaving, self._served = list(self._served.values()), {}
        for served in leaving:
            self._tasks.start(self._drain(served, deadline_s), name=f"drain {served.pod}")
        await self._tasks.wait(None)  # those that had begun to end before are among them

    def _add(self, request: Add) -> None:
        uid = request.pod.uid
        if self._named is not None:
            self._named.add(uid)
        present = self._served.get(uid)
        if present is not None and present.same_as(request):
            request.netns.close()
            if present.handle is None:
                self._start(present)
            return
        try:
            identity = SpiffeId(self._trust_domain, request.pod.namespace, request.pod.service_account)
        except InvalidSpiffeId as exc:
            request.netns.close()
            raise Refused(f"pod {request.pod}: {exc}") from exc
        self._identities.enrol(identity)
        served = _Served(request.pod, request.netns, identity)
        if present is not None:
            log.info("pod replaced pod=%s uid=%s", request.pod, uid)
            self._end(present)
        self._served[uid] = served
        self._start(served)

    def _keep(self, uid: str) -> None:
        """As ztunnel, whether or not there is such a pod."""
        if self._named is None:
            raise Refused(f"keep of {uid} after the snapshot")
        self._named.add(uid)
        if uid not in self._served:
            log.warning("agent keeps a pod that is not served uid=%s", uid)

    def _delete(self, uid: str) -> None:
        """As ztunnel, whether or not there is such a pod: the agent may repeat what it is not sure of."""
        if self._named is not None:
            self._named.discard(uid)
        served = self._served.get(uid)
        if served is not None:
            self._end(served)

    def _snapshot(self) -> None:
        if self._named is None:
            raise Refused("snapshot sent twice on one connection")
        named, self._named = self._named, None
        for uid in [uid for uid in self._served if uid not in named]:
            log.info("pod not in the snapshot uid=%s", uid)
            self._end(self._served[uid])
        self._snapshot_seen = True
        self._settle()

    def _start(self, served: _Served) -> None:
        try:
            served.handle = self._listeners.start(served.pod, served.netns)
        except OSError as exc:
            raise Refused(f"pod {served.pod}: {exc}") from exc
        except Exception as exc:  # one pod must not keep the others from being served
            log.exception("pod not served pod=%s", served.pod)
            raise Refused(f"pod {served.pod}: unexpected {exc!r}") from exc
        self.started += 1
        log.info("pod served pod=%s uid=%s", served.pod, served.pod.uid)
        self._settle()

    def _settle(self) -> None:
        if self.ready:
            self.settled.set()

    def _end(self, served: _Served) -> None:
        """Serve a pod no longer, without a grace period: its links may be gone, so nobody could be told."""
        del self._served[served.pod.uid]
        if served.handle is None:
            self._release(served)
            return
        self._tasks.start(self._close(served, served.handle), name=f"end {served.pod}")
        served.handle.stop_accepting()

    async def _close(self, served: _Served, handle: PodHandle) -> None:
        try:
            await handle.close()
            self.stopped += 1
            log.info("pod no longer served pod=%s uid=%s", served.pod, served.pod.uid)
        finally:
            self._release(served)

    async def _drain(self, served: _Served, deadline_s: float) -> None:
        try:
            if served.handle is not None:
                await served.handle.drain(deadline_s)
                self.stopped += 1
        finally:
            self._release(served)

    def _release(self, served: _Served) -> None:
        served.netns.close()
        self._identities.withdraw(served.identity)
