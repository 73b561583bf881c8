"""Locust as a library, alive for the whole run: `python3 -m harness.load.driver --socket S`.

One process, one runner, for all lanes of a bout. A user class in suites/locustfiles with an `op` answers
requests of that name; per request the runner starts its users for one stage and stops them. Samples are our
own nanoseconds; Locust's statistics are fed from what the users counted themselves, and told beside the rows.
"""

from __future__ import annotations

import locust  # isort: skip - first: it patches the standard library for gevent as it is imported

import argparse
import gc
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import LocalRunner

from harness.control import Handler, Refused, Reply, serve
from harness.load.clock import tighten
from harness.load.crew import ALONE, Crew, live_and_die_with
from harness.load.lane import reading
from harness.load.stage import LaneLoad, Recorder, Stage
from harness.load.supply import raise_descriptor_limit
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
        self._held: tuple[str, Stage[Any]] | None = None
        # The first stop reads the source of every frame on the stack (inspect), 40 ms: not in a cell.
        self._runner.stop()

    @property
    def handlers(self) -> dict[str, Handler]:
        """One per op, and the parts of each: `hold`, then `window`, which is all turns and `finish`."""
        parts = {"hold": self.hold, "turn": self.turn, "finish": self.finish, "window": self.window}
        return {op: self._handler(op) for op in self._users} | parts

    def _handler(self, op: str) -> Handler:
        def handle(request: dict[str, Any]) -> Reply:
            self.hold({**request, "what": op})
            return self.window({})

        return handle

    def hold(self, request: dict[str, Any]) -> Reply:
        """Op `hold`: get the users of the op `what` ready on all lanes, and keep them so.

        Users go on while this process waits for the next request: waiting is gevent's here.
        """
        self._release()
        op = str(request.get("what"))
        if op not in self._users:
            raise Refused(f"hold {op!r}; known: {', '.join(sorted(self._users))}", kind="unknown-op")
        user: Any = self._users[op]
        with reading(request):
            stage: Stage[Any] = user.stage(request, self._recorder)
        self._environment.stage = stage
        self._held = (op, stage)
        try:
            stage.gather(self._starter(user, stage.users * len(stage.lanes)))
        except Refused:
            self._release()
            raise
        opened = {str(number): lane.opened for number, lane in stage.lanes.items()}
        return Reply(document={"opened": opened, "turns": [] if op in ALONE else list(stage.turns())})

    def turn(self, request: dict[str, Any]) -> Reply:
        """Op `turn`: one turn of `lanes`, begun at `started_ns`; several workers have theirs together."""
        _, stage = self._holding("turn")
        turns = stage.turn(request["lanes"], int(request["started_ns"]))
        return Reply(document={"turns": turns})

    def window(self, request: dict[str, Any]) -> Reply:
        """Op `window`: all turns of the stage that is held, and its end."""
        _, stage = self._holding("window")
        try:
            for numbers in stage.turns():
                stage.turn(numbers)
        except BaseException:
            self._release()
            raise
        return self.finish(request)

    def finish(self, request: dict[str, Any]) -> Reply:  # noqa: ARG002 - a handler's signature
        """Op `finish`: let the users leave, and tell what happened."""
        op, stage = self._holding("finish")
        try:
            stage.finish()
        finally:
            self._release()
        document = stage.document()
        for number, lane in stage.lanes.items():
            document["lanes"][str(number)]["locust"] = self._account(op, lane)
        return Reply(document=document, payload=stage.recorder.payload())

    def _holding(self, op: str) -> tuple[str, Stage[Any]]:
        if self._held is None:
            raise Refused(f"{op} without a stage that is held; ask `hold` first", kind="bad-request")
        return self._held

    def _release(self) -> None:
        """Let no user of an earlier stage live on."""
        if self._held is not None:
            self._held[1].close()
            self._held = None
            self._runner.stop()
            self._environment.stats.reset_all()

    def _starter(self, user: type[locust.User], count: int) -> Callable[[], None]:
        # A spawn rate of `count` a second lets the first dispatch hold all of them.
        return lambda: self._runner.start(count, spawn_rate=count, user_classes=[user])

    def _account(self, op: str, lane: LaneLoad) -> dict[str, int]:
        """Tell Locust of a lane, in one go, and say what it makes of it: the other side of our rows.

        Its own way takes about 10 us a request.
        """
        tally, stats = lane.tally, self._environment.stats
        entry = stats.get(f"{op} on lane {lane.number}", "TCP")
        for each in (stats.total, entry):
            each.num_requests += tally.requests
            each.num_none_requests += tally.failures
            each.num_failures += tally.failures
            each.total_response_time += tally.total_ns / NS_PER_MS
            each.total_content_length += tally.bytes
        return {
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "mean_ns": round(entry.avg_response_time * NS_PER_MS),
        }


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
    raise_descriptor_limit()
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
