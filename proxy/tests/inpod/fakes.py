"""Listeners and identities that only remember what was asked of them."""

from __future__ import annotations

import asyncio

from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.net.namespace import Here, Netns

POD = PodInfo(uid="u1", name="client", namespace="bench", service_account="client")
OTHER = PodInfo(uid="u2", name="server", namespace="bench", service_account="server")


class FakeHandle:
    """A pod's listeners that are none."""

    def __init__(self, listeners: FakeListeners, pod: PodInfo) -> None:
        self._listeners = listeners
        self.pod = pod
        self.accepting = True

    def stop_accepting(self) -> None:
        self.accepting = False

    async def drain(self, deadline_s: float) -> None:
        await self._end(f"drain {deadline_s:g}")

    async def close(self) -> None:
        await self._end("close")

    async def _end(self, how: str) -> None:
        self.accepting = False
        await self._listeners.gate.wait()
        self._listeners.log.append(f"{how} {self.pod.uid}")
        self._listeners.running.remove(self)


class FakeListeners:
    """Starts nothing; fails while `failing` says so."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.running: list[FakeHandle] = []
        self.failing: str | None = None
        self.gate = asyncio.Event()
        """Until it is set, no pod comes to its end."""
        self.gate.set()

    def start(self, pod: PodInfo, netns: Netns | Here) -> FakeHandle:
        assert netns.fd is not None
        assert netns.fd >= 0
        if self.failing is not None:
            raise OSError(98, self.failing)
        handle = FakeHandle(self, pod)
        self.running.append(handle)
        self.log.append(f"start {pod.uid}")
        return handle


class FakeIdentities:
    """Counts users of each identity."""

    def __init__(self) -> None:
        self.users: dict[SpiffeId, int] = {}
        self.log: list[str] = []

    def enrol(self, identity: SpiffeId) -> None:
        self.users[identity] = self.users.get(identity, 0) + 1
        self.log.append(f"+{identity.service_account}")

    def withdraw(self, identity: SpiffeId) -> None:
        self.users[identity] -= 1
        if not self.users[identity]:
            del self.users[identity]
        self.log.append(f"-{identity.service_account}")
