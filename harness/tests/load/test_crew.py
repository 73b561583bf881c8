"""Several Locust processes as one: what is dealt out, what is merged, and what a missing one means."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.control import Channel, ControlError, Reply
from harness.load.crew import deal, merge
from harness.load.lane import Turn
from harness.load.records import LANE, REQUEST_FIELDS
from harness.load.split import split
from harness.tests.backends.running import Backend, backend
from harness.tests.load.client import Rows, request_frame
from harness.tests.load.running import lane, load_process, target

FIELDS = (LANE, *REQUEST_FIELDS)
WIDTH = len(REQUEST_FIELDS)


@pytest.mark.parametrize(
    ("users", "workers", "expected"),
    [
        (8, 2, [(0, 4), (4, 4)]),
        (5, 2, [(0, 3), (3, 2)]),
        (7, 3, [(0, 3), (3, 2), (5, 2)]),
        (2, 4, [(0, 1), (1, 1)]),
        (1, 2, [(0, 1)]),
    ],
)
def test_users_are_dealt_out_evenly_and_each_worker_has_one(
    users: int, workers: int, expected: list[tuple[int, int]]
) -> None:
    parts = deal({"connections": users, "seconds": 1}, workers)

    assert expected == [(part["first"], part["connections"]) for part in parts]
    assert {users} == {part["of"] for part in parts}
    assert users == sum(part["connections"] for part in parts)


def reply(users: list[int], **document: Any) -> Reply:
    rows = array("q")
    for user in users:
        rows.extend((0, user, 10, 10, 20, 30, 300, 40000, 1))
    lag_p99_ns = document.pop("lag_p99_ns", None)
    usual = {
        "rows": len(users),
        "opened": 2,
        "scheduled": 10,
        "late": 1,
        "unsent": 0,
        "late_sockets": 0,
        "cpu_ns": 5,
        "verification": {"checked": len(users), "wrong_nonce": 0},
        "answers": {"server/b/10.0.0.1": len(users)},
        "errors": {},
        "locust": {"requests": len(users), "failures": 0, "mean_ns": 20},
    }
    told = {
        "lanes": {"0": usual | document},
        "fields": FIELDS,
        "lag_p99_ns": lag_p99_ns,
        "together": False,
        "turns": [],
    }
    return Reply(document=told, payload=rows.tobytes())


def test_merged_samples_are_all_samples_with_users_of_the_whole() -> None:
    merged = merge([reply([0, 1, 0]), reply([0, 1])], firsts=[0, 2], turns=[])

    rows = array("q", merged.payload)
    assert [0, 1, 0, 2, 3] == list(rows[1 :: WIDTH + 1])
    assert [300] * 5 == list(rows[6 :: WIDTH + 1])
    assert merged.document["lanes"]["0"]["rows"] == 5
    assert merged.document["lanes"]["0"]["answers"] == {"server/b/10.0.0.1": 5}


def test_merged_health_is_the_worst_of_the_workers() -> None:
    """Each worker has a core of its own at best: a mean would hide the one that is full."""
    merged = merge(
        [
            reply([0], cpu_ns=900, lag_p99_ns=7),
            reply([0, 0, 0], cpu_ns=100, errors={"ECONNRESET": 1}),
        ],
        firsts=[0, 1],
        turns=[Turn(0, 1000, 2500, True)],
    ).document

    lane = merged["lanes"]["0"]
    assert (lane["cpu_ns"], merged["lag_p99_ns"]) == (900, 7)
    assert merged["turns"] == [(0, 1000, 2500, True)]
    assert lane["errors"] == {"ECONNRESET": 1}
    assert merged["workers"] == {"asked": 2, "reported": 2}
    assert lane["locust"] == {"requests": 4, "failures": 0, "mean_ns": 20}
    assert (lane["scheduled"], lane["late"]) == (20, 2)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    with load_process("harness.load.driver", tmp_path_factory.mktemp("locust") / "locust.sock") as opened:
        yield opened


def asked(running: Backend, **changes: Any) -> dict[str, Any]:
    return {
        "bout": "b",
        "lanes": [lane(target(running))],
        "connections": 5,
        "seconds": 0.3,
        "rate_hz": 500,
        "response_bytes": 128,
        "workers": 2,
        "arrivals": "poisson",
        "seed": "1/cell/rate",
    } | changes


def frame(answer: Reply) -> pd.DataFrame:
    rows: Rows = np.frombuffer(answer.payload, "<i8").reshape(-1, WIDTH)
    return request_frame(rows)


def test_two_workers_keep_the_schedule_of_one(channel: Channel, running: Backend) -> None:
    """The instants are those of the seed, whoever sends them."""
    shared = split(channel.call("requests", **asked(running)))[0]
    alone = split(channel.call("requests", **asked(running, workers=1)))[0]

    offsets = [_offsets(each) for each in (shared, alone)]
    assert shared.document["workers"]["reported"] == 2
    assert shared.document["scheduled"] == alone.document["scheduled"]
    assert [0, 1, 2, 3, 4] == sorted(frame(shared)["user"].unique())
    assert abs(len(offsets[0]) - len(offsets[1])) <= 5  # at most the last turn of each connection
    assert shared.document["errors"] == {}


def _offsets(answer: Reply) -> list[int]:
    """When requests were due in their blocks, all blocks together."""
    starts = np.array([start_ns for start_ns, _, _ in answer.document["turns"]])
    due = frame(answer)["intended_ns"].to_numpy()
    offsets: list[int] = np.sort(due - starts[np.searchsorted(starts, due, side="right") - 1]).tolist()
    return offsets


def test_a_worker_that_is_killed_fails_the_stage_and_the_next_has_a_new_crew(
    channel: Channel, running: Backend
) -> None:
    """F77: Locust itself would go on with the rest, and totals would silently shrink."""
    channel.call("requests", **asked(running, seconds=0.05))
    victim = _workers()[1]
    threading.Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()

    with pytest.raises(ControlError, match=r"1 of 2 Locust workers reported .* ended with -9") as caught:
        channel.call("requests", **asked(running, seconds=1.5))

    assert caught.value.kind == "worker-missing"
    assert channel.call("requests", **asked(running, seconds=0.05)).document["workers"]["reported"] == 2


def test_workers_end_with_their_foreman(tmp_path: Path, running: Backend) -> None:
    before = set(_workers())
    with load_process("harness.load.driver", tmp_path / "s") as opened:
        opened.call("requests", **asked(running, seconds=0.05))
        assert len(set(_workers()) - before) == 2

    deadline = time.monotonic() + 5
    while set(_workers()) - before and time.monotonic() < deadline:
        pass
    assert set(_workers()) <= before


def _workers() -> list[int]:
    """Pids of the workers of drivers that this test process started."""
    found = subprocess.run(
        ["pgrep", "-f", "harness.load.driver .*--foreman"], capture_output=True, text=True, check=False
    )
    ours = []
    for pid in map(int, found.stdout.split()):
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and _parent(_parent(pid)) == os.getpid():
            ours.append(pid)
    return sorted(ours)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
