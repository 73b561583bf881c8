"""Locust as a library, alive for the whole run: `python3 -m harness.load.driver --socket S`.

One process, one runner. A user class in suites/locustfiles with an `op` answers requests of that name;
per request the runner starts its users for one window and stops them. Samples are our own nanoseconds;
Locust's statistics are fed from what the users counted themselves, so the two can be compared.
"""

from __future__ import annotations

import locust  # isort: skip - first: it patches the standard library for gevent as it is imported

import argparse
import gc
import importlib.util
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from operator import sub
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import LocalRunner
from locust.stats import bucket_response_time

from harness.control import Handler, Refused, Reply, serve
from harness.load.clock import tighten
from harness.load.crew import Crew, live_and_die_with
from harness.load.stage import Recorder, Stage
from harness.shipped import LOCUSTFILES

log = logging.getLogger("harness.load.driver")

NS_PER_MS = 1_000_000


def user_classes(folder: Path) -> dict[str, type[locust.User]]:
    """The users that answer an op, by op: every class with one in the folder's files.

    Raises:
        ImportError: Two classes claim the same op, or none is there.
    """
    found: dict[str, type[locust.User]] = {}
    for path in sorted(folder.glob("*.py")):
        # A name of its own: Locust's loader would let requests.py hide the library of that name.
        spec = importlib.util.spec_from_file_location(f"locustfiles_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, locust.User) and hasattr(value, "op")):
                continue
            if found.setdefault(value.op, value) is not value:
                raise ImportError(f"{path}: op {value.op!r} is taken by {found[value.op].__name__}")
    if not found:
        raise ImportError(f"{folder} holds no user class with an `op`")
    return found


class Driver:
    """The runner and its ops."""

    def __init__(self, users: Mapping[str, type[locust.User]]) -> None:
        self._users = users
        self._environment: Any = Environment(user_classes=list(users.values()))
        self._runner: LocalRunner = self._environment.create_local_runner()
        self._recorder = Recorder()
        self._held: tuple[str, Stage] | None = None
        # The first stop reads the source of every frame on the stack (inspect), 40 ms: not in a cell.
        self._runner.stop()

    @property
    def handlers(self) -> dict[str, Handler]:
        """One per op, and both halves of each."""
        return {op: self._handler(op) for op in self._users} | {"hold": self.hold, "window": self.window}

    def _handler(self, op: str) -> Handler:
        def handle(request: dict[str, Any]) -> Reply:
            self.hold({**request, "what": op})
            return self.window({})

        return handle

    def hold(self, request: dict[str, Any]) -> Reply:
        """Op `hold`: get the users of the op `what` ready, and keep them so until `window`.

        Users go on while this process waits for the next request: waiting is gevent's here.
        """
        self._release()
        op = str(request.get("what"))
        if op not in self._users:
            raise Refused(f"hold {op!r}; known: {', '.join(sorted(self._users))}", kind="unknown-op")
        user: Any = self._users[op]
        try:
            stage: Stage = user.stage(request, self._recorder)
        except (KeyError, TypeError, ValueError) as exc:
            raise Refused(f"cell {request.get('cell')}: bad request: {exc!r}", kind="bad-request") from exc
        self._environment.stage = stage
        self._held = (op, stage)
        try:
            stage.gather(self._starter(user, stage.users))
        except Refused:
            self._release()
            raise
        return Reply(document={"opened": stage.opened})

    def window(self, request: dict[str, Any]) -> Reply:
        """Op `window`: the window of the stage that is held, at `at_ns` or now."""
        if self._held is None:
            raise Refused("window without a stage that is held; ask `hold` first", kind="bad-request")
        op, stage = self._held
        try:
            times = stage.hold(int(request.get("at_ns", 0)))
        finally:
            self._release()
        self._account(op, stage)
        stats = self._environment.stats.total
        document = {
            "rows": stage.recorder.rows,
            "opened": stage.opened,
            **times,
            **stage.document(),
            **stage.verification.document(),
            "locust": {
                "requests": stats.num_requests,
                "failures": stats.num_failures,
                "mean_ns": round(stats.avg_response_time * NS_PER_MS),
            },
        }
        return Reply(document=document, payload=stage.recorder.payload())

    def _release(self) -> None:
        """Let no user of an earlier stage live on."""
        if self._held is not None:
            self._held = None
            self._runner.stop()

    def _starter(self, user: type[locust.User], count: int) -> Callable[[], None]:
        # A spawn rate of `count` a second lets the first dispatch hold all of them.
        return lambda: self._runner.start(count, spawn_rate=count, user_classes=[user])

    def _account(self, op: str, stage: Stage) -> None:
        """Tell Locust, in one go: its own way takes about 10 us a request and rounds to milliseconds."""
        tally = stage.tally
        starts = stage.recorder.column(stage.fields.index("start_ns"))
        ends = stage.recorder.column(stage.fields.index("end_ns"))
        oks = stage.recorder.column(stage.fields.index("ok"))
        durations = [lasted for lasted, ok in zip(map(sub, ends, starts), oks, strict=True) if ok]
        by_ms = Counter(lasted // NS_PER_MS for lasted in durations)
        stats, now = self._environment.stats, time.time()
        for entry in (stats.total, stats.get(op, "TCP")):
            entry.num_requests += tally.requests
            entry.num_none_requests += tally.failures
            entry.num_failures += tally.failures
            entry.total_response_time += tally.total_ns / NS_PER_MS
            entry.total_content_length += tally.bytes
            entry.num_reqs_per_sec[int(now)] += tally.requests
            entry.last_request_timestamp = now
            if durations:
                entry.min_response_time = min(durations) / NS_PER_MS
                entry.max_response_time = max(durations) / NS_PER_MS
            for lasted_ms, count in by_ms.items():
                entry.response_times[bucket_response_time(lasted_ms)] += count


def main() -> None:
    """Answer the locustfiles' ops at a control socket until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="harness.load.driver", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--locustfiles", type=Path, default=LOCUSTFILES)
    parser.add_argument("--foreman", type=int, default=0, help="pid of the driver whose worker this is")
    arguments = parser.parse_args()
    if arguments.foreman:
        live_and_die_with(arguments.foreman)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("locust").setLevel(logging.ERROR)  # it warns of every ramp of more than 100 users
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, sys.exit, 0)
    tighten()
    driver = Driver(user_classes(arguments.locustfiles))
    gc.freeze()
    path: Path = arguments.socket
    path.parent.mkdir(parents=True, exist_ok=True)
    crew = Crew(path, arguments.locustfiles, driver.handlers)
    try:
        serve(path, crew.handlers)
    finally:
        crew.close()


if __name__ == "__main__":
    main()
