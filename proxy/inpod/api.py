"""What the pod manager needs from whoever listens inside the pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.net.namespace import Here, Netns


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInfo:
    """A pod as the agent announced it."""

    uid: str
    name: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class PodHandle(Protocol):
    """A pod's running listeners."""

    def stop_accepting(self) -> None:
        """Take no more connections, at once; those that live are not touched."""

    async def drain(self, deadline_s: float) -> None:
        """Stop to accept, let live connections finish, cut them at the deadline; then as `close`."""

    async def close(self) -> None:
        """Stop at once; reset what lives. Returns when no task and no socket of the pod is left."""


class PodListeners(Protocol):
    """Starts the listeners of one pod."""

    def start(self, pod: PodInfo, netns: Netns | Here) -> PodHandle:
        """Listen inside `netns`; raises when a listener cannot be made, with none of them left.

        `netns` stays open until the handle's `drain` or `close` has returned; the pod manager closes it.
        """
