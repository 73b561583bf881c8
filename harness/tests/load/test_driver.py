"""Locust as it runs in a cell: a real process, a real backend, real windows of a fraction of a second."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
import pytest

from harness.backends.nginx import Counters
from harness.backends.pattern import pattern
from harness.control import Channel, ControlError
from harness.load.bulk_stage import PIECE_BYTES
from harness.load.records import REQUEST_FIELDS, TRANSFER_FIELDS
from harness.load.split import split
from harness.tests.backends.running import Backend, backend, free_ports
from harness.tests.load.client import (
    Requested,
    Transferred,
    Windowed,
    request_frame,
    requests,
    transfer,
    transfer_frame,
)
from harness.tests.load.running import SOURCE, lane, load_process, server, target

SECONDS = 0.3


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    with load_process("harness.load.driver", tmp_path_factory.mktemp("locust") / "locust.sock") as opened:
        yield opened


def ask(channel: Channel, running: Backend, **changes: Any) -> Requested:
    asked: dict[str, Any] = {
        "cell": "0001-r0-test",
        "target": target(running),
        "source": SOURCE,
        "connections": 4,
        "seconds": SECONDS,
        "rate_hz": 0.0,
        "response_bytes": 128,
    }
    return requests(channel, **(asked | changes))


def download(channel: Channel, running: Backend, **changes: Any) -> Transferred:
    asked: dict[str, Any] = {
        "cell": "0001-r0-test",
        "target": target(running, running.source_port),
        "source": SOURCE,
        "streams": 2,
        "seconds": SECONDS,
    }
    return transfer(channel, **(asked | changes))


def column(result: Windowed, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    fields = REQUEST_FIELDS if isinstance(result, Requested) else TRANSFER_FIELDS
    return result.rows[:, fields.index(name)]


def test_rows_answers_connections_and_locust_add_up(channel: Channel, running: Backend) -> None:
    before = Counters.read(running.state_dir)

    result = ask(channel, running)

    seen = Counters.read(running.state_dir).since(before)
    rows = len(result.rows)
    assert rows > 100
    assert (result.opened, seen.accepted) == (4, 4)
    assert (result.verification.checked, seen.requests) == (rows + 4, rows + 4)  # one warm-up each
    assert (result.locust_requests, result.locust_failures) == (rows, 0)
    assert result.answers == {"server/b/127.0.0.1": rows + 4}
    assert result.errors == {}
    assert column(result, "ok").all()


def test_locust_s_mean_is_that_of_the_rows(channel: Channel, running: Backend) -> None:
    result = ask(channel, running)

    mean_ns = (column(result, "end_ns") - column(result, "start_ns")).mean()
    assert result.locust_mean_ns == pytest.approx(mean_ns, rel=0.001)


def test_every_request_starts_in_the_window_on_a_connection_opened_before(
    channel: Channel, running: Backend
) -> None:
    result = ask(channel, running)

    starts, firsts, ends = (column(result, name) for name in ("start_ns", "first_byte_ns", "end_ns"))
    assert (result.started_ns <= starts).all()
    assert (starts < result.ended_ns).all()
    assert (starts < firsts).all()
    assert (firsts <= ends).all()
    assert result.ended_ns - result.started_ns >= SECONDS * 1e9
    by_user = request_frame(result.rows).groupby("user")["local_port"].nunique()
    assert by_user.to_dict() == {0: 1, 1: 1, 2: 1, 3: 1}


def test_a_user_has_one_request_under_way_at_a_time(channel: Channel, running: Backend) -> None:
    frame = request_frame(ask(channel, running).rows)

    for _, rows in frame.groupby("user"):
        assert (rows["start_ns"].to_numpy()[1:] >= rows["end_ns"].to_numpy()[:-1]).all()
    assert (frame["intended_ns"] == frame["start_ns"]).all()


@pytest.mark.parametrize("connections", [1, 3])
def test_a_rate_is_kept_with_intended_times_evenly_spread(
    channel: Channel, running: Backend, connections: int
) -> None:
    result = ask(channel, running, rate_hz=200.0, seconds=0.5, connections=connections)

    intended = np.sort(column(result, "intended_ns"))
    assert result.scheduled == 100 == len(result.rows) + result.unsent
    for start_ns, end_ns, _ in result.turns:
        due = intended[(start_ns <= intended) & (intended < end_ns)]
        assert due[0] == start_ns
        assert np.allclose(np.diff(due), 5_000_000, atol=1)
    assert (column(result, "start_ns") >= column(result, "intended_ns")).all()


def test_intended_times_of_each_user_go_forward(channel: Channel, running: Backend) -> None:
    frame = request_frame(ask(channel, running, rate_hz=500.0).rows)

    assert all(rows["intended_ns"].is_monotonic_increasing for _, rows in frame.groupby("user"))


def test_a_rate_beyond_what_the_backend_can_do_leaves_late_and_unsent_requests(
    channel: Channel, running: Backend
) -> None:
    """One connection, 20 ms an answer: 4 of the 10 of each block can be sent, and none is forgotten."""

    def slow(connection: socket.socket) -> None:
        while request := connection.recv(4096):
            nonce = re.findall(rb"n=(\w+)", request)[0]
            time.sleep(0.02)  # the fake's service time, not a wait for anything
            body = b"nonce=%s pod=server node=b source=127.0.0.1:1\n" % nonce + b"x" * 128
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with server(slow) as port:
        result = ask(channel, running, target=target(running, port), rate_hz=200.0, connections=1)

    assert result.scheduled == 60 == len(result.rows) + result.unsent
    assert 5 < len(result.rows) < 35
    assert result.late >= len(result.rows) - len(result.turns)


@pytest.mark.parametrize("seconds", [0.1, 0.3])
def test_the_answer_comes_soon_after_the_window(channel: Channel, running: Backend, seconds: float) -> None:
    result = ask(channel, running, seconds=seconds, rate_hz=100.0)

    assert monotonic_ns() - result.ended_ns < 250_000_000  # 10 ms here; a shared machine may pause


def test_the_window_opens_soon_after_the_request(channel: Channel, running: Backend) -> None:
    asked_ns = monotonic_ns()

    result = ask(channel, running, rate_hz=100.0, connections=32)

    assert result.started_ns - asked_ns < 500_000_000  # 15 ms here


def test_stages_follow_each_other_without_trace(channel: Channel, running: Backend) -> None:
    sizes = [len(ask(channel, running, rate_hz=100.0, connections=users).rows) for users in (1, 8, 2)]

    assert sizes == [30, 30, 30]
    assert len(download(channel, running).rows) > 0
    assert len(ask(channel, running, rate_hz=100.0).rows) == 30


def test_generator_health_is_told(channel: Channel, running: Backend) -> None:
    result = ask(channel, running)

    assert 0 < result.cpu_ns < 2 * SECONDS * 1e9
    assert result.lag_p99_ns is not None
    assert result.lag_p99_ns > 0


@pytest.mark.parametrize(("pod", "node", "which"), [("other", "", "wrong_pod"), ("", "a", "wrong_node")])
def test_answers_from_elsewhere_stop_their_connection_in_the_warm_up(
    channel: Channel, running: Backend, pod: str, node: str, which: str
) -> None:
    result = ask(channel, running, target=target(running, pod=pod, node=node))

    assert getattr(result.verification, which) == 4 == result.verification.wrong
    assert (result.opened, len(result.rows)) == (4, 0)


def test_a_source_that_is_not_kept_is_told(channel: Channel, running: Backend) -> None:
    result = ask(channel, running, source="10.0.0.1")

    assert result.verification.wrong_source == 4 == result.verification.wrong
    assert result.answers == {"server/b/127.0.0.1": 4}


def test_a_wrong_nonce_in_mid_window_is_a_row_that_is_not_ok(channel: Channel, running: Backend) -> None:
    def lie(connection: socket.socket) -> None:
        for turn in range(1000):
            if not (request := connection.recv(4096)):
                return
            nonce = re.findall(rb"n=(\w+)", request)[0]
            said = nonce if turn < 10 else b"f" * len(nonce)
            body = b"nonce=%s pod=server node=b source=127.0.0.1:1\n" % said + b"x" * 128
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with server(lie) as port:
        result = ask(channel, running, target=target(running, port))

    assert result.verification.wrong_nonce == 4 == result.verification.wrong
    assert (len(result.rows), int(column(result, "ok").sum())) == (4 * 10, 4 * 9)
    assert (result.locust_requests, result.locust_failures) == (40, 4)


def test_a_connection_lost_in_mid_window_is_counted_and_not_replaced(
    channel: Channel, running: Backend
) -> None:
    def leave(connection: socket.socket) -> None:
        for _ in range(5):
            nonce = re.findall(rb"n=(\w+)", connection.recv(4096))[0]
            body = b"nonce=%s pod=server node=b source=127.0.0.1:1\n" % nonce + b"x" * 128
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connection.recv(4096)

    with server(leave) as port:
        result = ask(channel, running, target=target(running, port))

    assert result.opened == 4
    assert sum(result.errors.values()) == 4
    assert set(result.errors) <= {"closed", "ECONNRESET", "EPIPE"}
    assert (len(result.rows), int(column(result, "ok").sum())) == (4 * 5, 4 * 4)


def test_an_answer_that_never_comes_is_a_row_and_an_error(channel: Channel, running: Backend) -> None:
    def fall_silent(connection: socket.socket) -> None:
        nonce = re.findall(rb"n=(\w+)", connection.recv(4096))[0]
        body = b"nonce=%s pod=server node=b source=127.0.0.1:1\n" % nonce + b"x" * 128
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        while connection.recv(4096):
            pass

    with server(fall_silent) as port:
        result = ask(channel, running, target=target(running, port))

    assert result.errors == {"unanswered": 4}
    assert (len(result.rows), int(column(result, "ok").sum())) == (4, 0)
    assert not column(result, "first_byte_ns").any()


def test_a_refused_port_is_counted(channel: Channel, running: Backend) -> None:
    result = ask(channel, running, target=target(running, free_ports(1)[0]))

    assert result.errors == {"ECONNREFUSED": 4}
    assert (result.opened, len(result.rows)) == (4, 0)


@pytest.mark.parametrize("streams", [1, 3])
def test_each_stream_of_a_download_has_a_row_in_each_block(
    channel: Channel, running: Backend, streams: int
) -> None:
    result = download(channel, running, streams=streams)

    assert (result.opened, result.errors) == (streams, {})
    frame = transfer_frame(result.rows)
    assert sorted(frame["user"].unique()) == list(range(streams))
    for _, rows in frame.groupby("user"):
        assert rows["start_ns"].tolist() == [start_ns for start_ns, _, _ in result.turns]
        assert (rows["end_ns"].to_numpy() <= [end_ns for _, end_ns, _ in result.turns]).all()
    assert frame["ok"].all()
    assert (result.locust_requests, result.locust_failures) == (len(frame), 0)


def test_a_download_is_as_large_as_the_rows_say(channel: Channel, running: Backend) -> None:
    """Every byte that was asked for, but the piece before the first block, is in a row."""
    sent: list[int] = []

    def counting(connection: socket.socket) -> None:
        offset, inbox = 0, b""
        while more := connection.recv(4096):
            *lines, inbox = (inbox + more).split(b"\n")
            for size in map(int, lines):
                connection.sendall(pattern(offset, size))
                offset += size
                sent.append(size)

    with server(counting) as port:
        result = download(channel, running, target=target(running, port), streams=1)

    assert column(result, "bytes").sum() == sum(sent) - PIECE_BYTES
    assert result.verification.wrong_bytes == 0


def test_bytes_out_of_place_end_a_download(channel: Channel, running: Backend) -> None:
    def shift(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(pattern(0, PIECE_BYTES))
        while connection.recv(100):
            connection.sendall(pattern(PIECE_BYTES + 8, PIECE_BYTES))

    with server(shift) as port:
        result = download(channel, running, target=target(running, port), streams=1)

    assert result.verification.wrong_bytes == 1
    assert column(result, "ok").tolist()[-1] == 0


def test_a_download_that_stalls_is_stopped_and_its_block_was_not_drained(
    channel: Channel, running: Backend
) -> None:
    def stall(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(pattern(0, PIECE_BYTES))
        while connection.recv(100):
            pass

    with server(stall) as port:
        result = download(channel, running, target=target(running, port), streams=1, seconds=0.02)

    assert result.errors == {"stalled": 1}
    assert column(result, "ok").tolist() == [0]
    assert result.turns[0][2] is False


@pytest.mark.parametrize(
    "change", [{"connections": 0}, {"seconds": 0.0}, {"rate_hz": -1.0}, {"connections": -3}]
)
def test_impossible_requests_are_refused(channel: Channel, running: Backend, change: dict[str, Any]) -> None:
    with pytest.raises(ControlError, match=r"expected >= ") as caught:
        ask(channel, running, **change)

    assert caught.value.kind == "bad-request"


def test_an_unknown_op_names_the_known_ones(channel: Channel) -> None:
    with pytest.raises(ControlError, match="unknown op 'swarm'; known: both-ways, chatty, connects"):
        channel.call("swarm")


def test_a_locustfile_of_one_s_own_is_one_file(tmp_path: Path, running: Backend) -> None:
    (tmp_path / "own.py").write_text(
        "from locust import User, task\n"
        "from locust.exception import StopUser\n"
        "from harness.load.request_stage import LiveConnection, RequestStage\n"
        "class Once(User):\n"
        "    op, stage = 'once', RequestStage\n"
        "    @task\n"
        "    def one(self):\n"
        "        connection = LiveConnection(self.environment.stage)\n"
        "        connection.open()\n"
        "        connection.ask(next(connection.requests()))\n"
        "        connection.close()\n"
        "        raise StopUser\n"
    )
    with load_process("harness.load.driver", tmp_path / "s", "--locustfiles", str(tmp_path)) as opened:
        answer = opened.call(
            "once",
            bout="b",
            seed="1",
            lanes=[lane(target(running))],
            connections=3,
            seconds=0.1,
            rate_hz=0,
            response_bytes=0,
        )

    told = answer.document["lanes"]["0"]
    assert (told["rows"], told["opened"]) == (3, 3)


def test_new_connections_are_opened_and_closed_for_each_row(channel: Channel, running: Backend) -> None:
    reply = channel.call(
        "connects",
        bout="b",
        seed="1",
        lanes=[lane(target(running))],
        connections=3,
        seconds=SECONDS,
        response_bytes=128,
    )
    reply = split(reply)[0]

    rows = np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(REQUEST_FIELDS))
    column = {name: rows[:, index] for index, name in enumerate(REQUEST_FIELDS)}
    assert len(rows) == reply.document["rows"] == reply.document["opened"] > 3
    assert column["ok"].all()
    assert (column["start_ns"] < column["first_byte_ns"]).all()
    assert len(set(column["local_port"])) == len(rows)
    assert reply.document["errors"] == {}
    assert reply.document["verification"]["checked"] == len(rows)
