"""Tasks whose failures stay their own: what one raises is logged with its traceback, and no other ends by it.

Tasks: work that is done once, such as a connection or the end of a pod.
Supervisor: work that is never done, such as renewing a certificate: when it fails it is started anew.

Without them an exception would end the proxy's one task group, and with it every connection of the node.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from proxy.telemetry.stats import Stats

log = logging.getLogger("proxy.tasks")

BACKOFF_FIRST_S = 0.1
BACKOFF_CAP_S = 60.0
"""Between failures of one work; begins anew once the work has run for that long without one."""

Work = Callable[[], Awaitable[None]]


class Tasks:
    """Tasks that belong together, such as a pod's: all of them children of the proxy's group."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._all: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._all)

    def start(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Run `work`, which must survive: whatever it raises is logged with its traceback."""
        task = self._group.create_task(_surviving(work, name), name=name)
        self._all.add(task)
        task.add_done_callback(self._all.discard)

    async def wait(self, timeout_s: float | None) -> bool:
        """Whether all ended in time (None: however long it takes)."""
        if self._all:
            await asyncio.wait(self._all, timeout=timeout_s)
        return not self._all

    async def cancel(self) -> None:
        """End all of them now."""
        for task in list(self._all):
            task.cancel()
        if self._all:
            await asyncio.wait(self._all)


async def _surviving(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("task failed unexpectedly task=%s", name)


class Supervisor:
    """Keeps background work running for as long as the proxy lives, or until its task is cancelled."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        stats: Stats,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing runs yet.

        Args:
            group: Parent of the tasks.
            stats: Counts the failures.
            now: A clock that only goes forward, seconds.
            sleep: Waits between a failure and the next start.
        """
        self._group = group
        self._stats = stats
        self._now = now
        self._sleep = sleep
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> list[str]:
        """Names of the work that is not done."""
        return sorted(task.get_name() for task in self._running)

    def start(self, work: Work, *, name: str) -> asyncio.Task[None]:
        """Run `work()` until it returns; after a failure, run `work()` anew. What it holds is its owner's.

        Args:
            work: What to do.
            name: That nothing else which runs has.
        """
        task = self._group.create_task(self._supervise(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _supervise(self, work: Work, name: str) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            began = self._now()
            try:
                return await work()
            except BaseException as exc:
                if not isinstance(exc, Exception) and not _cancelled_from_within(exc):
                    raise
                if self._now() - began > BACKOFF_CAP_S:
                    backoff_s = BACKOFF_FIRST_S
                self._stats.background_failures += 1
                log.exception("background task failed task=%s again_in=%gs", name, backoff_s)
            await self._sleep(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_CAP_S)


def _cancelled_from_within(exc: BaseException) -> bool:
    """Whether what the work waited for was cancelled, and not the work itself."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and not task.cancelling()
