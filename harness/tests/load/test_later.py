"""Later packets, one request of each lane in turns, and round trips of a small message."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.control import Refused, Reply
from harness.load.later import WARM_UP, later
from harness.load.records import LANE, RTT_FIELDS
from harness.load.split import split
from harness.load.wire import Target
from harness.tests.backends.running import ADDRESS, Backend, backend
from harness.tests.load.running import lane, server, target

FIELDS = (LANE, *RTT_FIELDS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


def ask(*ports: int, **more: Any) -> Reply:
    targets = [Target(address=ADDRESS, port=port, pod="p", node="n") for port in ports]
    lanes = [lane(each, number) for number, each in enumerate(targets)]
    return later({"bout": "b", "seed": "1", "lanes": lanes, "message_bytes": 128, "seconds": 0.05} | more)


def rows_of(reply: Reply) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(FIELDS))


def _echo(connection: socket.socket) -> None:
    while received := connection.recv(4096):
        connection.sendall(received)


def _halves(connection: socket.socket) -> None:
    while received := connection.recv(4096):
        connection.sendall(received[:100])
        connection.sendall(received[100:])


@pytest.mark.parametrize("converse", [_echo, _halves])
def test_every_trip_leaves_a_row_whose_times_follow_one_another(
    converse: Callable[[socket.socket], None],
) -> None:
    with server(converse) as port:
        reply = ask(port)

    rows = rows_of(reply)
    starts, ends = rows[:, FIELDS.index("start_ns")], rows[:, FIELDS.index("end_ns")]
    told = reply.document["lanes"]["0"]
    assert len(rows) == told["rows"] >= 1
    assert (starts < ends).all()
    assert (ends[:-1] <= starts[1:]).all()
    assert rows[:, -1].all()
    assert told["errors"] == {}


@pytest.mark.parametrize("lanes", [2, 3])
def test_lanes_have_equally_many_requests_in_turns_that_never_overlap(running: Backend, lanes: int) -> None:
    asked = [lane(target(running), number) for number in range(lanes)]
    request = {"bout": "b", "seed": "7", "lanes": asked, "response_bytes": 128, "seconds": 0.1}

    reply = later(request)

    rows = rows_of(reply)
    starts, ends = rows[:, FIELDS.index("start_ns")], rows[:, FIELDS.index("end_ns")]
    assert (ends[:-1] <= starts[1:]).all()
    counts = Counter(rows[:, 0].tolist())
    assert sorted(counts) == list(range(lanes))
    assert len(set(counts.values())) == 1
    followed = Counter(zip(rows[:-1, 0].tolist(), rows[1:, 0].tolist(), strict=True))
    assert followed[0, 1] == pytest.approx(followed[1, 0], rel=0.2)
    for number, own in split(reply).items():
        assert own.document["verification"]["checked"] == counts[number] + WARM_UP
        assert own.document["answers"] == {"server/b/127.0.0.1": counts[number] + WARM_UP}
        assert own.document["elapsed_ns"] == (ends - starts)[rows[:, 0] == number].sum()


def test_an_echo_that_changes_a_byte_is_caught_and_ends_its_lane_alone() -> None:
    def spoil(connection: socket.socket) -> None:
        trips = 0
        while received := connection.recv(4096):
            trips += 1
            connection.sendall(received if trips < 30 else received[:-1] + bytes([received[-1] ^ 1]))

    with server(spoil) as spoiled, server(_echo) as sound:
        reply = ask(spoiled, sound)

    rows, told = rows_of(reply), reply.document["lanes"]
    assert told["0"]["verification"]["wrong_bytes"] == 1
    assert rows[rows[:, 0] == 0][-1, -1] == 0
    assert told["0"]["rows"] == 30 - WARM_UP
    assert told["1"]["rows"] > told["0"]["rows"]
    assert rows[rows[:, 0] == 1][:, -1].all()


def test_nobody_there_is_an_error_of_the_lane() -> None:
    with socket.socket() as unused:
        unused.bind((ADDRESS, 0))
        reply = ask(unused.getsockname()[1])

    told = reply.document["lanes"]["0"]
    assert told["rows"] == 0
    assert told["errors"] == {"ECONNREFUSED": 1}


def test_a_request_without_a_target_is_refused() -> None:
    with pytest.raises(Refused, match="bout b: bad request"):
        later({"bout": "b", "lanes": [{"lane": 0}]})
