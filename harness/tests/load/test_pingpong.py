"""Round trips of a small message."""

from __future__ import annotations

import socket
from dataclasses import asdict

import numpy as np
import pytest

from harness.control import Refused
from harness.load.pingpong import pingpong
from harness.load.records import RTT_FIELDS
from harness.load.wire import Target
from harness.tests.backends.running import ADDRESS
from harness.tests.load.running import server


def _ask(port: int) -> dict[str, object]:
    backend = asdict(Target(address=ADDRESS, port=port, pod="p", node="n"))
    return {"cell": "c", "source": ADDRESS, "target": backend, "message_bytes": 128, "seconds": 0.05}


def _echo(connection: socket.socket) -> None:
    while received := connection.recv(4096):
        connection.sendall(received)


def _halves(connection: socket.socket) -> None:
    while received := connection.recv(4096):
        connection.sendall(received[:100])
        connection.sendall(received[100:])


@pytest.mark.parametrize("converse", [_echo, _halves])
def test_every_trip_leaves_a_row_whose_times_follow_one_another(converse: object) -> None:
    with server(converse) as port:  # type: ignore[arg-type]  # parametrize gives objects
        reply = pingpong(_ask(port))

    rows = np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(RTT_FIELDS))
    starts, ends = rows[:, 0], rows[:, 1]
    assert len(rows) == reply.document["rows"] >= 1
    assert (starts < ends).all()
    assert (ends[:-1] <= starts[1:]).all()
    assert rows[:, 3].all()
    assert reply.document["errors"] == {}


def test_an_echo_that_changes_a_byte_is_caught_and_ends_the_stage() -> None:
    def spoil(connection: socket.socket) -> None:
        trips = 0
        while received := connection.recv(4096):
            trips += 1
            connection.sendall(received if trips < 30 else received[:-1] + bytes([received[-1] ^ 1]))

    with server(spoil) as port:
        reply = pingpong(_ask(port))

    assert reply.document["verification"]["wrong_bytes"] == 1
    assert np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(RTT_FIELDS))[-1, 3] == 0


def test_nobody_there_is_an_error_of_the_stage() -> None:
    with socket.socket() as unused:
        unused.bind((ADDRESS, 0))
        reply = pingpong(_ask(unused.getsockname()[1]))

    assert reply.document["rows"] == 0
    assert reply.document["errors"] == {"ECONNREFUSED": 1}


def test_a_request_without_a_target_is_refused() -> None:
    with pytest.raises(Refused, match="bad request"):
        pingpong({"cell": "c"})
