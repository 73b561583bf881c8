"""Several Locust processes as one: each lane's users are dealt out, take turns together, are merged after.

This process is the workers' foreman and makes no load itself, as Locust's master does not. It calls each
turn, and the next when all workers are drained. What is merged are raw samples. A worker that does not
report fails the stage: totals never silently shrink (F77).
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Any

from harness.control import Channel, ControlError, Handler, Refused, Reply
from harness.load.lane import Turn

START_S = 30.0
"""For a worker to open its socket: the slowest of Locust's imports takes seconds on a busy core."""
ALONE = frozenset({"knee", "fleet"})
"""Ops of one worker: a search decides from all samples of a lane, a fleet needs no more than one process."""
PR_SET_PDEATHSIG = 1
"""include/uapi/linux/prctl.h"""

SHARED = ("connections", "streams")
"""What users are counted by, whichever an op has."""


class Crew:
    """The workers, started when a stage first asks for more than one."""

    def __init__(self, path: Path, locustfiles: Path, alone: Mapping[str, Handler]) -> None:
        """Take this driver's own socket and handlers; workers listen beside it, by number."""
        self._path = path
        self._locustfiles = locustfiles
        self._alone = alone
        self._workers: list[tuple[subprocess.Popen[bytes], Channel]] = []
        self._held: list[dict[str, Any]] = []
        self._turns: list[list[int]] = []

    @property
    def handlers(self) -> dict[str, Handler]:
        """As of a driver alone, for one worker or for several."""
        return {op: self._handler(op) for op in self._alone}

    def _handler(self, op: str) -> Handler:
        def handle(request: dict[str, Any]) -> Reply:
            workers = int(request.pop("workers", 1))
            if op == "window":
                return self._window() if self._held else self._alone[op](request)
            what = str(request.get("what", op))
            if workers < 2 or what in ALONE:
                return self._alone[op](request)
            held = self._hold({**request, "what": what}, workers)
            return held if op == "hold" else self._window()

        return handle

    def _hold(self, request: dict[str, Any], workers: int) -> Reply:
        self._held = deal(request, workers)
        self._start(len(self._held))
        replies = self._all("hold", self._held)
        self._turns = replies[0].document["turns"]
        return Reply(document={"opened": add(reply.document["opened"] for reply in replies)})

    def _window(self) -> Reply:
        held, self._held = self._held, []
        taken = [turn for numbers in self._turns for turn in self._turn(numbers, len(held))]
        replies = self._all("finish", [{} for _ in held])
        return merge(replies, firsts=[part["first"] for part in held], turns=taken)

    def _turn(self, numbers: Sequence[int], workers: int) -> list[Turn]:
        """One turn of all workers: begun together, and drained when the last one is."""
        asked = {"lanes": numbers, "started_ns": monotonic_ns()}
        replies = self._all("turn", [asked for _ in range(workers)])
        parts = [[Turn(*turn) for turn in reply.document["turns"]] for reply in replies]
        return [
            Turn(
                turns[0].lane,
                turns[0].start_ns,
                max(turn.end_ns for turn in turns),
                all(turn.drained for turn in turns),
            )
            for turns in zip(*parts, strict=True)
        ]

    def _start(self, count: int) -> None:
        for number in range(len(self._workers), count):
            path = self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")
            command = [sys.executable, "-m", "harness.load.driver", "--socket", str(path)]
            command += ["--locustfiles", str(self._locustfiles), "--foreman", str(os.getpid())]
            process = subprocess.Popen(command)
            self._workers.append((process, Channel(path, connect_timeout_s=START_S)))

    def _all(self, op: str, requests: Sequence[dict[str, Any]]) -> list[Reply]:
        """Ask all at once; one that does not report fails the stage, and the crew is begun anew."""
        crew = self._workers[: len(requests)]
        replies: list[Reply] = []
        missing: list[str] = []
        errors: list[ControlError] = []
        for (_, channel), request in zip(crew, requests, strict=True):
            with suppress(ControlError):  # its silence is told below
                channel.send(op, **request)
        for number, (process, channel) in enumerate(crew):
            try:
                replies.append(channel.receive(timeout_s=None))
            except ControlError as exc:
                if exc.kind != "unreachable":
                    errors.append(exc)
                    continue
                missing.append(f"worker {number} (pid {process.pid}) {_ending(process)}")
        if missing:
            self.close()
            raise Refused(
                f"{len(replies)} of {len(crew)} Locust workers reported in `{op}`: {'; '.join(missing)}; "
                "samples of a part are no samples of the whole",
                kind="worker-missing",
            )
        if errors:
            raise Refused(str(errors[0]), kind=errors[0].kind)
        return replies

    def close(self) -> None:
        """End all workers."""
        self._held = []
        for process, channel in self._workers:
            channel.close()
            process.kill()
            process.wait()
        self._workers.clear()


def _ending(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return "does not answer"
    return f"ended with {code}"


def live_and_die_with(foreman: int) -> None:
    """Let the kernel kill this worker when its foreman ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)) or os.getppid() != foreman:
        sys.exit("the foreman is gone")


def deal(request: Mapping[str, Any], workers: int) -> list[dict[str, Any]]:
    """A request's users dealt out as evenly as they go, each worker with one at least of each lane.

    Each part says which users of the whole it has (`first`, `of`): they keep their turns in an open loop.
    """
    key = next(key for key in SHARED if key in request)
    total = int(request[key])
    count = max(1, min(workers, total))
    sizes = [total // count + (number < total % count) for number in range(count)]
    parts, first = [], 0
    for size in sizes:
        parts.append({**request, key: size, "first": first, "of": total})
        first += size
    return parts


def merge(replies: Sequence[Reply], *, firsts: Sequence[int], turns: Sequence[Turn]) -> Reply:
    """The workers' replies as one: rows joined, users renumbered, counts added, the worst health."""
    documents = [reply.document for reply in replies]
    lags = [document["lag_p99_ns"] for document in documents if document["lag_p99_ns"] is not None]
    document = {
        **documents[0],
        "lanes": {
            number: _lane([document["lanes"][number] for document in documents])
            for number in documents[0]["lanes"]
        },
        "lag_p99_ns": max(lags, default=None),
        "workers": {"asked": len(firsts), "reported": len(replies)},
        "together": any(document["together"] for document in documents),
        "turns": turns,
    }
    width = len(document["fields"])
    rows = [_renumbered(reply, first, width) for reply, first in zip(replies, firsts, strict=True)]
    return Reply(document=document, payload=b"".join(rows))


def _lane(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One lane's part of the workers' documents: counts added; CPU time of the busiest, who is full first."""
    counts = ("rows", "opened", "late_sockets", "scheduled", "late", "unsent")
    return {
        **{key: sum(part[key] for part in parts) for key in counts if key in parts[0]},
        **{key: add(part[key] for part in parts) for key in ("verification", "answers", "errors")},
        "cpu_ns": max(part["cpu_ns"] for part in parts),
        "locust": _books([part["locust"] for part in parts]),
    }


def add(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums, name by name."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def _books(locust: Sequence[Mapping[str, int]]) -> dict[str, int]:
    good = [part["requests"] - part["failures"] for part in locust]
    weighted = sum(part["mean_ns"] * count for part, count in zip(locust, good, strict=True))
    return {
        "requests": sum(part["requests"] for part in locust),
        "failures": sum(part["failures"] for part in locust),
        "mean_ns": round(weighted / sum(good)) if sum(good) else 0,
    }


def _renumbered(reply: Reply, first: int, width: int) -> bytes:
    """A worker's rows, their users (the second field) numbered as in the whole."""
    if not first:
        return reply.payload
    buffer = bytearray(reply.payload)
    used = memoryview(buffer).cast("q")
    for at in range(1, len(used), width):
        used[at] += first
    return bytes(buffer)
