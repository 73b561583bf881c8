"""The scenarios' stages as they run in a cell: real processes, a real backend, windows of a moment."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.backends.pattern import PERIOD_BYTES, pattern
from harness.backends.tcp import MARK_BYTES
from harness.control import Channel, ControlError, Reply
from harness.load import records
from harness.load.bulk_stage import digest
from harness.load.split import split
from harness.load.wire import Target
from harness.plan.scenarios.knee import Step, highest
from harness.shipped import LOCUSTFILES
from harness.tests.backends.running import Backend, backend
from harness.tests.load.running import SOURCE, lane, load_process, server, target

SECONDS = 0.25


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    with load_process("harness.load.driver", tmp_path_factory.mktemp("locust") / "locust.sock") as opened:
        yield opened


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    with load_process("harness.load.probe", tmp_path_factory.mktemp("probe") / "probe.sock") as opened:
        yield opened


def common(running: Backend, port: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "bout": "b",
        "lanes": [lane(target(running, port))],
        "seconds": SECONDS,
        "response_bytes": 128,
        "seed": "1/cell",
    } | more


def ask(channel: Channel, op: str, **arguments: Any) -> Reply:
    """The only lane's part of the reply."""
    return split(channel.call(op, **arguments))[0]


def frame(answer: Reply, fields: tuple[str, ...] = records.REQUEST_FIELDS) -> pd.DataFrame:
    found = pd.DataFrame(np.frombuffer(answer.payload, "<i8").reshape(-1, len(fields)), columns=list(fields))
    assert len(found) == answer.document["rows"]
    return found


def wrong(answer: Reply) -> int:
    return sum(count for kind, count in answer.document["verification"].items() if kind != "checked")


def test_every_op_has_one_locustfile() -> None:
    ops = [re.findall(r'op = "([a-z-]+)"', path.read_text()) for path in sorted(LOCUSTFILES.glob("*.py"))]

    assert all(len(each) == 1 for each in ops)


def test_an_upload_is_what_the_sink_counted_and_digested(channel: Channel, running: Backend) -> None:
    answer = ask(channel, "upload", **common(running, running.sink_port, streams=2))

    rows = frame(answer, records.TRANSFER_FIELDS)
    assert (answer.document["errors"], wrong(answer)) == ({}, 0)
    assert answer.document["verification"]["checked"] == 2  # the sink's answers
    assert rows["bytes"].sum() > 0
    assert rows["ok"].all()


def test_an_upload_that_lost_a_byte_is_wrong(channel: Channel, running: Backend) -> None:
    def lose(connection: socket.socket) -> None:
        total, seen = 0, hashlib.sha256()
        while data := connection.recv(65536):
            before, total = total, total + len(data)
            seen.update(data if before else data[1:])
            if before // MARK_BYTES < total // MARK_BYTES:
                connection.sendall(f"{total - total % MARK_BYTES}\n".encode())
        connection.sendall(f"{total} {seen.hexdigest()}\n".encode())

    with server(lose) as port:
        answer = ask(channel, "upload", **common(running, port, streams=1))

    assert answer.document["verification"]["wrong_bytes"] == 1


@pytest.mark.parametrize("size", [0, 1, PERIOD_BYTES - 1, PERIOD_BYTES, PERIOD_BYTES * 2 + 77])
def test_the_digest_is_of_the_pattern(size: int) -> None:
    assert hashlib.sha256(pattern(0, size)).hexdigest() == digest(size)


def test_both_ways_brings_back_what_was_sent(channel: Channel, running: Backend) -> None:
    answer = ask(channel, "both-ways", **common(running, running.echo_port, streams=2))

    rows = frame(answer, records.TRANSFER_FIELDS)
    assert (answer.document["errors"], wrong(answer)) == ({}, 0)
    assert rows["bytes"].sum() > 0
    assert rows["ok"].all()


def test_an_echo_that_loses_bytes_is_wrong(channel: Channel, running: Backend) -> None:
    def lose(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(data[8:])

    with server(lose) as port:
        answer = ask(channel, "both-ways", **common(running, port, streams=1))

    assert answer.document["verification"]["wrong_bytes"] == 1


def test_chatty_messages_come_back_whole(channel: Channel, running: Backend) -> None:
    answer = ask(
        channel, "chatty", **common(running, running.echo_port, connections=2, writes=8, write_bytes=16)
    )

    rows = frame(answer)
    assert (answer.document["errors"], wrong(answer), answer.document["opened"]) == ({}, 0, 2)
    assert set(rows["bytes"]) == {128}
    assert answer.document["verification"]["checked"] == len(rows) + 2  # one more each, before the window
    assert (rows["start_ns"] < rows["first_byte_ns"]).all()


def test_a_storm_is_one_connection_each_all_due_at_once(channel: Channel, running: Backend) -> None:
    answer = ask(channel, "storm", **common(running, connections=40))

    rows = frame(answer)
    assert (answer.document["errors"], wrong(answer)) == ({}, 0)
    assert (len(rows), answer.document["opened"], rows["local_port"].nunique()) == (40, 40, 40)
    assert set(rows["intended_ns"]) == {answer.document["started_ns"]}


def test_a_fleet_lives_through_the_window_beside_a_paced_probe(
    channel: Channel, quiet: Channel, running: Backend
) -> None:
    held = channel.call("hold", what="fleet", **common(running, connections=50, seconds=SECONDS + 0.2))
    channel.send("window")
    paced = ask(quiet, "paced", **common(running, rate_hz=200))
    fleet = split(channel.receive())[0]

    assert held.document["opened"] == {"0": 50}
    assert (fleet.document["errors"], wrong(fleet), len(frame(fleet))) == ({}, 0, 50)
    held_until_ns = fleet.document["started_ns"] + (SECONDS + 0.2) * 1e9
    assert (frame(fleet)["start_ns"] >= held_until_ns).all()
    assert (paced.document["scheduled"], paced.document["unsent"]) == (50, 0)
    assert fleet.document["started_ns"] < paced.document["ended_ns"]


def test_a_paced_probe_sends_when_due_although_answers_are_late(quiet: Channel, running: Backend) -> None:
    """Coordinated omission: a server that waits once is met by every request that was due meanwhile."""

    def stall(connection: socket.socket) -> None:
        for asked, nonce in enumerate(_nonces(connection)):
            if asked == 10:
                stop.wait(0.1)
            body = f"nonce={nonce} pod={running.pod} node={running.node} source={SOURCE}:1\n" + "x" * 128
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    stop = threading.Event()
    with server(stall) as port:
        answer = ask(quiet, "paced", **common(running, port, rate_hz=200))

    rows = frame(answer)
    waits = (rows["first_byte_ns"] - rows["intended_ns"]) / 1e6
    assert (answer.document["unsent"], wrong(answer), answer.document["errors"]) == (0, 0, {})
    assert len(rows) == 50
    assert (waits > 20).sum() >= 12  # of 20 that were due in 100 ms
    assert (rows["start_ns"] - rows["intended_ns"]).median() < 5e6


def test_a_paced_probe_counts_a_connection_that_ends(quiet: Channel, running: Backend) -> None:
    def leave(connection: socket.socket) -> None:
        connection.recv(65536)

    with server(leave) as port:
        answer = ask(quiet, "paced", **common(running, port, rate_hz=100))

    assert (answer.document["rows"], answer.document["errors"]) == (0, {"closed": 1})


def test_a_search_for_the_knee_records_its_steps(channel: Channel, running: Backend) -> None:
    limits = {"p99_ms": 1000.0, "from_hz": 4000, "to_hz": 8000, "steps": 4, "connections": 8}
    answer = ask(channel, "knee", **(common(running) | limits))

    rows, steps = frame(answer, records.STEP_FIELDS), answer.document["steps"]
    assert answer.document["opened"] == 8
    assert steps[0]["rate_hz"] == 4000
    assert {round(step["rate_hz"] * 1000) for step in steps} == set(rows["rate_mhz"])
    for step in steps:
        of = rows[rows["rate_mhz"] == round(step["rate_hz"] * 1000)]
        assert {int(step["within"])} == set(of["within"])
        assert step["answered"] == of["ok"].sum()
    assert highest([Step(rate_hz=each["rate_hz"], within=each["within"]) for each in steps]) <= 8000


def test_a_service_s_answers_are_counted_per_endpoint(channel: Channel, running: Backend) -> None:
    """Each new connection may meet another pod; any pod of the service is right, any other is wrong."""
    turns = iter(range(10**6))

    def balance(connection: socket.socket) -> None:
        pod, node = (("web-1", "a"), ("web-2", "b"))[next(turns) % 2]
        for nonce in _nonces(connection):
            body = f"nonce={nonce} pod={pod} node={node} source={SOURCE}:1\n" + "x" * 128
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    with server(balance) as port:
        service = {**asdict(target(running, port)), "endpoints": {"web-1": "a", "web-2": "b"}}
        right = ask(
            channel, "endpoints", **common(running, connections=2) | {"lanes": [lane(Target(**service))]}
        )
        stranger = {**service, "endpoints": {"web-1": "a", "web-3": "b"}}
        wrongly = ask(
            channel, "endpoints", **common(running, connections=2) | {"lanes": [lane(Target(**stranger))]}
        )

    rows = frame(right, records.ENDPOINT_FIELDS)
    counts = rows["endpoint"].value_counts()
    assert (wrong(right), set(counts.index)) == (0, {0, 1})
    assert abs(counts[0] - counts[1]) <= 1
    assert right.document["answers"] == {
        f"web-{index + 1}/{'ab'[index]}/{SOURCE}": int(counts[index]) for index in (0, 1)
    }
    assert wrongly.document["verification"]["wrong_pod"] > 0


def test_a_window_without_a_held_stage_is_refused(channel: Channel) -> None:
    with pytest.raises(ControlError, match="ask `hold` first"):
        channel.call("window")


def _nonces(connection: socket.socket) -> Iterator[str]:
    inbox = b""
    while data := connection.recv(65536):
        inbox += data
        while b"\r\n\r\n" in inbox:
            head, _, inbox = inbox.partition(b"\r\n\r\n")
            yield head.partition(b"n=")[2].partition(b" ")[0].decode()
