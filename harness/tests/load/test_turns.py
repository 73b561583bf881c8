"""Several lanes in turns, with real processes and a real backend: nothing of one runs in another's turn."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.agent.sockets import SocketServer, tcp_sockets
from harness.control import Channel, ControlError, Reply
from harness.load.accounts import CONTROLS
from harness.load.records import LANE, PROBE_FIELDS
from harness.load.split import split
from harness.load.wire import Target
from harness.tests.backends.running import ADDRESS, Backend, backend
from harness.tests.load.running import SOURCE, BenchSocket, lane, load_process, server, target

PORTS = {"transfer": "source_port", "upload": "sink_port", "both-ways": "echo_port", "chatty": "echo_port"}
LOADS: dict[str, dict[str, Any]] = {
    "requests": {"connections": 4},
    "connects": {"connections": 3},
    "endpoints": {"connections": 3},
    "chatty": {"connections": 2, "writes": 4, "write_bytes": 16},
    "transfer": {"streams": 2},
    "upload": {"streams": 2},
    "both-ways": {"streams": 2},
}


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


def ask(channel: Channel, op: str, *lanes: dict[str, Any], **more: Any) -> Reply:
    request: dict[str, Any] = {
        "bout": "b",
        "seed": "5",
        "lanes": list(lanes),
        "response_bytes": 128,
        "seconds": 0.06,
    }
    return channel.call(op, **(request | LOADS.get(op, {}) | more))


def frame(reply: Reply) -> pd.DataFrame:
    fields = reply.document["fields"]
    return pd.DataFrame(np.frombuffer(reply.payload, "<i8").reshape(-1, len(fields)), columns=list(fields))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("op", sorted(LOADS))
def test_turns_never_overlap_and_whatever_a_lane_does_lies_in_its_own(
    channel: Channel, running: Backend, op: str, workers: int
) -> None:
    """Drained means drained: the last answer, or byte, of a turn came before its end."""
    port = getattr(running, PORTS.get(op, "app_port"))
    lanes = [lane(target(running, port), number) for number in range(2)]

    reply = ask(channel, op, *lanes, workers=workers)

    turns, rows = reply.document["turns"], frame(reply)
    assert not reply.document["together"]
    assert all(before[2] <= after[1] for before, after in pairwise(turns))
    assert all(drained for _, _, _, drained in turns)
    assert Counter(number for number, *_ in turns) == {0: len(turns) // 2, 1: len(turns) // 2}
    assert rows["ok"].all()
    for number, part in split(reply).items():
        own = rows[rows[LANE] == number]
        starts, ends = (np.array([turn[at] for turn in part.document["turns"]]) for at in (0, 1))
        at = np.searchsorted(starts, own["start_ns"].to_numpy(), side="right") - 1
        assert len(own) == part.document["rows"] > 0
        assert (at >= 0).all()
        assert (own["end_ns"].to_numpy() <= ends[at]).all()
        assert part.document["locust"]["requests"] == len(own)
        assert part.document["errors"] == {}


def test_a_slow_lane_takes_no_time_from_another_s_block(channel: Channel, running: Backend) -> None:
    """Its own blocks last until its slow answers are there; the other's are as long as asked for."""

    def slow(connection: socket.socket) -> None:
        while request := connection.recv(4096):
            nonce = re.findall(rb"n=(\w+)", request)[0]
            time.sleep(0.03)  # the fake's service time, not a wait for anything
            body = b"nonce=%s pod=server node=b source=127.0.0.1:1\n" % nonce + b"x" * 128
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with server(slow) as port:
        lanes = (lane(target(running, port), 0), lane(target(running), 1))
        parts = split(ask(channel, "requests", *lanes, block_ms=10, seconds=0.1))

    lasted = {
        number: [end_ns - start_ns for start_ns, end_ns, _ in part.document["turns"]]
        for number, part in parts.items()
    }
    assert len(lasted[0]) == len(lasted[1]) == 10
    assert min(lasted[0]) >= 30_000_000
    assert 10_000_000 <= min(lasted[1]) < 20_000_000
    assert parts[0].document["rows"] == 10 * 4
    assert parts[1].document["rows"] > 5 * parts[0].document["rows"]


def test_a_lane_that_falls_silent_leaves_the_other_s_turns_alone(channel: Channel, running: Backend) -> None:
    def fall_silent(connection: socket.socket) -> None:
        nonce = re.findall(rb"n=(\w+)", connection.recv(4096))[0]
        body = b"nonce=%s pod=server node=b source=127.0.0.1:1\n" % nonce + b"x" * 128
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        while connection.recv(4096):
            pass

    with server(fall_silent) as port:
        parts = split(ask(channel, "requests", lane(target(running, port), 0), lane(target(running), 1)))

    assert parts[0].document["errors"] == {"unanswered": 4}
    assert [drained for *_, drained in parts[0].document["turns"]].count(False) == 1
    assert parts[1].document["errors"] == {}
    assert all(drained for *_, drained in parts[1].document["turns"])


def test_an_open_loop_keeps_each_lane_s_rate_in_that_lane_s_blocks(
    channel: Channel, running: Backend
) -> None:
    lanes = [lane(target(running), number) for number in range(2)]

    reply = ask(channel, "requests", *lanes, rate_hz=200, seconds=0.2)

    for part in split(reply).values():
        assert (part.document["scheduled"], part.document["unsent"]) == (40, 0)
        assert len(part.document["turns"]) == 4
    for number, start_ns, end_ns, _ in reply.document["turns"]:
        rows = frame(reply)
        own = rows[(rows["start_ns"] >= start_ns) & (rows["start_ns"] < end_ns)]
        assert set(own[LANE]) == {number}
        assert np.allclose(np.sort(own["intended_ns"]) - start_ns, np.arange(10) * 5e6, atol=1)


def test_lanes_have_their_storms_one_after_another(channel: Channel, running: Backend) -> None:
    lanes = [lane(target(running), number) for number in range(2)]

    reply = ask(channel, "storm", *lanes, connections=20, seconds=0.05)

    rows = frame(reply)
    (first, second) = reply.document["turns"]
    assert Counter(rows[LANE]) == {0: 20, 1: 20}
    assert first[2] <= second[1]
    assert set(rows["intended_ns"]) == {first[1], second[1]}


def test_a_search_goes_step_by_step_over_the_lanes_each_at_its_own_rate(
    channel: Channel, running: Backend
) -> None:
    limits = {"p99_ms": 1000.0, "from_hz": 4000, "to_hz": 8000, "steps": 3, "connections": 4}
    lanes = [lane(target(running), number) for number in range(2)]

    reply = ask(channel, "knee", *lanes, **limits)

    told = {number: part.document["steps"] for number, part in split(reply).items()}
    turns = [number for number, *_ in reply.document["turns"]]
    assert sorted(turns[:2]) == [0, 1]
    assert Counter(turns) == {number: len(steps) for number, steps in told.items()}


@pytest.mark.parametrize("op", ["requests", "connects"])
def test_sockets_of_another_namespace_are_found_by_what_the_backend_sees(
    channel: Channel, running: Backend, tmp_path: Path, op: str
) -> None:
    def elsewhere(_: str, family: socket.AddressFamily, count: int) -> list[socket.socket]:
        made = tcp_sockets(family, count)
        for sock in made:
            sock.bind(("127.0.0.77", 0))
        return made

    with SocketServer(tmp_path / "s.sock", elsewhere):
        wrong = lane(target(running), 0, sockets=str(tmp_path / "s.sock"))
        parts = split(ask(channel, op, wrong, lane(target(running), 1)))

    assert parts[0].document["verification"]["wrong_source"] == LOADS[op]["connections"]
    assert set(parts[0].document["answers"]) == {"server/b/127.0.0.77"}
    assert parts[1].document["verification"]["wrong_source"] == 0
    assert set(parts[1].document["answers"]) == {f"server/b/{SOURCE}"}


def test_a_pod_that_the_agent_does_not_know_refuses_the_stage(
    channel: Channel, running: Backend, tmp_path: Path
) -> None:
    missing = lane(target(running), sockets=str(tmp_path / "none"))

    with pytest.raises(ControlError, match=r"sockets of pod-client from .*none: No such file") as refused:
        ask(channel, "requests", missing)

    assert refused.value.kind == "sockets"


@pytest.mark.parametrize("change", [{"lanes": []}, {"lanes": [{"lane": 0}]}])
def test_a_bout_without_lanes_is_refused(channel: Channel, change: dict[str, Any]) -> None:
    with pytest.raises(ControlError, match="bout b: bad request"):
        channel.call("requests", bout="b", seed="1", connections=1, seconds=0.1, response_bytes=0, **change)


# First packets


def probe(quiet: Channel, *lanes: dict[str, Any], **more: Any) -> Reply:
    pace = {"later_requests": 3, "gap_ns": 500_000, "later_interval_ns": 400_000}
    return ask(quiet, "probe", *lanes, **(pace | more))


def states(**counts: int) -> list[dict[str, Any]]:
    ops = {"cold": "drop-tunnels", "warm": "nothing", "new": "nothing"}
    return [{"state": state, "count": count, "op": ops[state]} for state, count in counts.items()]


def test_first_packets_alternate_connection_by_connection(quiet: Channel, running: Backend) -> None:
    lanes = [lane(target(running), number, states=states(new=12)) for number in range(2)]

    rows = frame(probe(quiet, *lanes)).sort_values("start_ns")

    assert (rows["end_ns"].to_numpy()[:-1] <= rows["start_ns"].to_numpy()[1:]).all()
    first = rows[rows["sequence"] == 0][LANE].to_numpy().reshape(-1, 2)
    assert (np.sort(first, axis=1) == [0, 1]).all()
    forth = (first[:, 0] == 0).reshape(-1, 2).sum(axis=1)
    assert (forth == 1).all()  # over a design each lane is first once


def test_later_requests_take_turns_over_the_lanes_live_connections(quiet: Channel, running: Backend) -> None:
    lanes = [lane(target(running), number, states=states(new=4)) for number in range(3)]

    rows = frame(probe(quiet, *lanes)).sort_values("start_ns")

    later = rows[rows["sequence"] > 0]
    by_turn = later[LANE].to_numpy().reshape(-1, 3)
    assert (np.sort(by_turn, axis=1) == [0, 1, 2]).all()
    assert np.ptp(later["sequence"].to_numpy().reshape(-1, 3), axis=1).max() == 0
    ports = rows.groupby([LANE, "connection"])["local_port"].nunique()
    assert set(ports) == {1}


def test_a_cold_probe_empties_the_pools_of_its_own_lane_alone(
    quiet: Channel, running: Backend, tmp_path: Path
) -> None:
    benches = {number: BenchSocket(tmp_path / str(number)) for number in (0, 1)}
    lanes = [
        lane(target(running), number, states=states(cold=5, warm=5), bench_sockets=[str(bench.path)])
        for number, bench in benches.items()
    ]

    parts = split(probe(quiet, *lanes))

    for number, bench in benches.items():
        calls = Counter(bench.calls)
        assert calls == {"drop-tunnels": 5, "nothing": 5 + 1 + CONTROLS}
        assert (parts[number].document["opened"], parts[number].document["rows"]) == (10 + 1, 10 * 4)


def test_neighbours_are_probes_of_one_state(quiet: Channel, running: Backend) -> None:
    lanes = [lane(target(running), number, states=states(cold=6, warm=6)) for number in range(2)]

    rows = frame(probe(quiet, *lanes)).sort_values("start_ns")

    pairs = rows[rows["sequence"] == 0]["state"].to_numpy().reshape(-1, 2)
    assert (pairs[:, 0] == pairs[:, 1]).all()


def test_a_lane_with_fewer_states_has_its_probes_spread_over_the_whole(
    quiet: Channel, running: Backend
) -> None:
    mesh, plain = states(cold=10, warm=10), states(new=5)

    rows = frame(
        probe(quiet, lane(target(running), 0, states=mesh), lane(target(running), 1, states=plain))
    ).sort_values("start_ns")

    first = rows[rows["sequence"] == 0][LANE].tolist()
    between = "".join(map(str, first)).split("1")
    assert (first.count(0), first.count(1)) == (20, 5)
    assert max(map(len, between)) <= 8


def test_the_probe_tells_of_its_own_health(quiet: Channel, running: Backend) -> None:
    reply = probe(quiet, lane(target(running), states=states(new=10)))

    told = split(reply)[0].document
    rows = frame(reply)
    first = rows[rows["sequence"] == 0]
    lags = sorted(first["start_ns"] - first["intended_ns"])
    assert told["lag_p99_ns"] == lags[-1]
    assert 0 < told["cpu_ns"] <= told["elapsed_ns"]
    assert 0 <= told["waited_p99_ns"] <= told["waited_ns"]
    assert set(PROBE_FIELDS) == set(rows.columns) - {LANE}


def test_a_lane_whose_backend_is_gone_leaves_the_other_s_probes_whole(
    quiet: Channel, running: Backend
) -> None:
    with socket.socket() as unused:
        unused.bind((ADDRESS, 0))
        gone = Target(**asdict(target(running)) | {"port": unused.getsockname()[1]})
        parts = split(
            probe(
                quiet,
                lane(gone, 0, states=states(new=6)),
                lane(target(running), 1, states=states(new=6)),
            )
        )

    assert parts[0].document["errors"] == {"ECONNREFUSED": 6}
    assert (parts[1].document["errors"], parts[1].document["rows"]) == ({}, 24)
