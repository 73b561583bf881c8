"""The mesh as it is now, and where it comes from.

A source puts whole snapshots into the store. The first one is a file that is looked at again and
again; another (delta xDS) fills the same slot.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from proxy.background import beside_traffic
from proxy.state.document import MalformedDocument, parse
from proxy.state.mesh import MeshState
from proxy.state.model import Workload

log = logging.getLogger("proxy.state")

LARGE_BYTES = 256 * 1024
"""A document from which on collections while it is read would be felt by the traffic."""

Changed = Callable[[MeshState], None]


class NotReady(Exception):
    """The mesh's state, or a pod's own workload, is not known yet."""


class MeshStore:
    """The current snapshot. `state` is replaced as a whole; whoever holds one keeps a consistent view."""

    def __init__(self) -> None:
        self.state = MeshState()
        """Empty, with version 0, until there is one."""
        self._next = asyncio.Event()
        self._subscribers: list[Changed] = []

    @property
    def has_state(self) -> bool:
        """Whether a first complete snapshot is there. Until then nothing may be guessed."""
        return self.state.version > 0

    def replace(self, state: MeshState) -> None:
        """Put a snapshot in force and tell everyone who waits for one."""
        self.state = state
        arrived, self._next = self._next, asyncio.Event()
        arrived.set()
        for changed in tuple(self._subscribers):
            changed(state)

    def subscribe(self, changed: Changed) -> Callable[[], None]:
        """Call `changed` after each replacement; the answer ends the subscription."""
        self._subscribers.append(changed)
        return lambda: self._subscribers.remove(changed)

    async def ready(self, timeout_s: float | None) -> MeshState:
        """The current state, as soon as there is one; NotReady after `timeout_s` (None: never)."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.has_state:
                    await self._next.wait()
        except TimeoutError as exc:
            raise NotReady(f"no mesh state after {timeout_s:g} s") from exc
        return self.state

    async def workload(
        self, *, namespace: str, name: str, service_account: str, node: str = "", timeout_s: float
    ) -> Workload:
        """A pod's own workload, as soon as it is known; NotReady after `timeout_s`.

        The other arguments are `MeshState.workload_named`'s.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = self.state.workload_named(
                        namespace=namespace, name=name, service_account=service_account, node=node
                    )
                    if found is not None:
                        return found
                    await self._next.wait()
        except TimeoutError as exc:
            elsewhere = self.state.workload_named(
                namespace=namespace, name=name, service_account=service_account
            )
            raise NotReady(
                f"no workload {namespace}/{name} with service account {service_account}"
                + (f" on node {node}" if node else "")
                + f" in the mesh state after {timeout_s:g} s"
                + (f"; there is one on node {elsewhere.node!r}" if elsewhere is not None else "")
            ) from exc


class Source(Protocol):
    """Where snapshots come from."""

    async def run(self, store: MeshStore) -> None:
        """Put snapshots into the store until cancelled."""


class FileSource:
    """A mesh document that is replaced by renaming a new one over it.

    The file is looked at by `stat`, as file events do not cross every kind of mount. What was in
    force stays so while the file is absent or cannot be read.
    """

    def __init__(
        self, path: Path, *, poll_s: float, node: str = "", aliases: frozenset[str] = frozenset()
    ) -> None:
        """Look at `path` every `poll_s`.

        Args:
            path: The document.
            poll_s: Seconds between two looks.
            node: Policies for its workloads are compiled before anybody waits for them.
            aliases: Trust domains that are names of one and the same.
        """
        self.path = path
        self.poll_s = poll_s
        self.node = node
        self.aliases = aliases
        self._seen: tuple[int, int, int] | None = None
        self._document: bytes | None = None
        self._trouble: str | None = None

    async def run(self, store: MeshStore) -> None:
        """Look, for ever."""
        while True:
            await self.look(store)
            await asyncio.sleep(self.poll_s)

    async def look(self, store: MeshStore) -> None:
        """Put the document in force if it has changed since the last look."""
        try:
            status = self.path.stat()
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return
            document = await asyncio.to_thread(self.path.read_bytes)
            self._seen = seen
            if document == self._document:
                return
            self._document = document
            state = await asyncio.to_thread(self._read, document, store.state)
        except OSError as exc:
            self._complain(f"read mesh document {self.path}: {exc.strerror}")
        except MalformedDocument as exc:
            self._complain(f"mesh document {self.path}: {exc}; version {store.state.version} stays in force")
        else:
            self._trouble = None
            for rejection in state.rejections:
                log.warning(
                    "resource rejected kind=%s key=%s kept=%s reason=%s",
                    rejection.kind,
                    rejection.key,
                    rejection.kept,
                    rejection.reason,
                )
            store.replace(state)
            log.info(
                "mesh state in force version=%d workloads=%d services=%d policies=%d rejected=%d",
                state.version,
                len(state.workloads),
                len(state.services),
                len(state.policies),
                len(state.rejections),
            )

    def _read(self, document: bytes, previous: MeshState) -> MeshState:
        """In a thread of its own, beside the traffic; before the first state there is none."""
        with (
            beside_traffic() if previous.version else nullcontext(),
            _uncollected() if len(document) > LARGE_BYTES else nullcontext(),
        ):
            state = parse(document, version=previous.version + 1, previous=previous, aliases=self.aliases)
            state.prepare(self.node)
        return state

    def _complain(self, trouble: str) -> None:
        """Once for each trouble, not once for each look."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning(trouble)


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is made in the block is never looked at by the collector.

    It lives long and has no cycles. To walk half a million objects of it takes 0.2 s, in which no
    other thread runs. What is garbage by now is collected before: frozen, it would stay for ever.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
