"""A process per network namespace, forked from one that has everything loaded.

python-iptables keeps tables per process, libiptc may end the process it runs in, and a namespace
entered is best left by exiting. So whatever is done in another namespace is a function that runs in a
process that entered it and works there alone, until the agent ends. It is not started for each call:
a fork of this size costs 5 ms, and a level must be switched on three pods in less than 100.

The nursery, which forks them, is itself forked before the agent has threads or sockets, and ends,
with all of them, when the agent does.
"""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.agent import netns

TASK_TIMEOUT_S = 60.0
"""Longest time for one batch; twice the wait for the iptables lock."""

PRELOAD = (
    "harness.agent.attempt",
    "harness.agent.capture",
    "harness.agent.conntrack",
    "harness.agent.counters",
    "harness.agent.ctnetlink",
    "harness.agent.links",
    "harness.agent.roundtrip",
    "harness.agent.sysctls",
)
"""What a child needs and should not have to load."""

IPTC = "harness.agent.appliers.iptc"
"""Loads C libraries, which may be absent, or end the process."""

FRESH = "(fresh)"
"""Stands for a new, empty namespace instead of a path."""


class WorkError(Exception):
    """What was tried in a namespace failed; the message names the namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A call to make inside a namespace. Arguments and result must be picklable."""

    namespace: str
    """Its name, for messages."""
    path: str
    function: str
    """`module:name`; named and not passed, so that the agent itself need not load what it uses."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    message: str


class Workers:
    """The nursery, seen from the agent. Not for use from several threads at once."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._connection.close()
            _nursery(theirs)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the nursery and wait for its end."""
        self._connection.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def run(self, works: Sequence[Work]) -> list[Any]:
        """Make all calls at once, each in its namespace; results in the order of `works`.

        Raises:
            WorkError: At least one failed; the others were made all the same.
        """
        if not works:
            return []
        try:
            self._connection.send(list(works))
            results = self._connection.recv()
        except (EOFError, OSError) as exc:
            raise WorkError(f"the agent's worker process is gone: {exc}") from exc
        failures = [
            f"{work.namespace}: {result.message}"
            for work, result in zip(works, results, strict=True)
            if isinstance(result, _Failure)
        ]
        if failures:
            raise WorkError("; ".join(failures))
        return list(results)


def _nursery(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = 0
    try:
        for name in PRELOAD:
            import_module(name)
        if _loads(IPTC):
            import_module(IPTC)
        gc.freeze()
        workers = _Pool()
        with suppress(EOFError):
            while True:
                connection.send(workers.batch(connection.recv()))
        workers.close()
    except BaseException:  # noqa: BLE001 - the last stop of this process
        traceback.print_exc()
        code = 1
    finally:
        os._exit(code)


def _loads(module: str) -> bool:
    """Whether a process survives loading it; where it does not, the probe says so."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            import_module(module)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return status == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worker:
    pid: int
    connection: Connection
    kept: bool


class _Pool:
    """The nursery's side: one worker per namespace, known by path and inode."""

    def __init__(self) -> None:
        self._workers: dict[tuple[str, int], _Worker] = {}
        self._forked = 0

    def batch(self, works: Sequence[Work]) -> list[Any]:
        """Results of all calls, made at once; a failure is a result too."""
        results: list[Any] = [None] * len(works)
        under_way: dict[Connection, tuple[int, _Worker]] = {}
        for index, work in enumerate(works):
            try:
                worker = self._worker(work.path)
                worker.connection.send(work)
            except OSError as exc:
                results[index] = _Failure(message=f"{work.path}: {exc.strerror}")
            else:
                under_way[worker.connection] = (index, worker)
        deadline = time.monotonic() + TASK_TIMEOUT_S
        while under_way:
            ready = wait(list(under_way), timeout=max(deadline - time.monotonic(), 0))
            for connection in [each for each in under_way if each in ready or not ready]:
                index, worker = under_way.pop(connection)
                results[index] = self._result(worker, late=not ready)
        return results

    def close(self) -> None:
        """End all workers and wait for their end."""
        for worker in self._workers.values():
            worker.connection.close()
        for worker in self._workers.values():
            os.waitpid(worker.pid, 0)

    def _worker(self, path: str) -> _Worker:
        # one that is fresh is nobody else's; it is known by how many were forked before it
        self._forked += 1
        key = (path, self._forked if path == FRESH else Path(path).stat().st_ino)
        if key not in self._workers:
            ours, theirs = Pipe()
            pid = os.fork()
            if pid == 0:
                ours.close()
                # a sibling ends when the last copy of its connection is closed
                for sibling in self._workers.values():
                    sibling.connection.close()
                _serve(path, theirs)
            theirs.close()
            self._workers[key] = _Worker(pid=pid, connection=ours, kept=path != FRESH)
        return self._workers[key]

    def _result(self, worker: _Worker, *, late: bool) -> Any:
        try:
            if not late:
                result: Any = worker.connection.recv()
                if not worker.kept:
                    self._end(worker)
                return result
            os.kill(worker.pid, signal.SIGKILL)
            self._end(worker)
            return _Failure(message=f"no end after {TASK_TIMEOUT_S:.0f} s")
        except EOFError:
            code = self._end(worker)
            ended = f"signal {-code}" if code < 0 else f"exit {code}"
            return _Failure(message=f"its process ended with {ended}, without a result")

    def _end(self, worker: _Worker) -> int:
        worker.connection.close()
        self._workers = {key: each for key, each in self._workers.items() if each is not worker}
        _, status = os.waitpid(worker.pid, 0)
        return os.waitstatus_to_exitcode(status)


def _serve(path: str, connection: Connection) -> None:
    code = 0
    try:
        entered = False
        with suppress(EOFError):
            while True:
                work: Work = connection.recv()
                try:
                    if not entered:
                        netns.fresh() if path == FRESH else netns.enter(path)
                        entered = True
                    module, _, name = work.function.partition(":")
                    result: Any = getattr(import_module(module), name)(**work.arguments)
                except Exception as exc:  # noqa: BLE001 - it becomes the result, and an error in the agent
                    traceback.print_exc()
                    result = _Failure(message=f"{type(exc).__name__}: {exc}")
                connection.send(result)
    except BaseException:  # noqa: BLE001 - the last stop of this process
        traceback.print_exc()
        code = 1
    finally:
        os._exit(code)
