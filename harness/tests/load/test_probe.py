import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.backends.nginx import Counters
from harness.control import Channel, ControlError
from harness.load.accounts import CONTROLS
from harness.load.probe import CODES, Wish, order
from harness.load.records import PROBE_FIELDS
from harness.plan.model import State
from harness.tests.backends.running import Backend, backend, free_ports
from harness.tests.load.client import Probed, probe, probe_frame
from harness.tests.load.running import SOURCE, BenchSocket, load_process, server, target

COLD = Wish(state=State.COLD, count=4, op="drop-tunnels")
WARM = Wish(state=State.WARM, count=4, op="nothing")
NEW = Wish(state=State.NEW, count=6, op="nothing")
GAP_NS = 1_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Channel]:
    with load_process("harness.load.probe", tmp_path_factory.mktemp("probe") / "probe.sock") as opened:
        yield opened


def run(channel: Channel, running: Backend, *wishes: Wish, **changes: Any) -> Probed:
    asked: dict[str, Any] = {
        "cell": "0001-r0-test",
        "target": target(running),
        "source": SOURCE,
        "states": wishes,
        "later_requests": 3,
        "gap_ns": GAP_NS,
        "later_interval_ns": 500_000,
        "response_bytes": 128,
        "bench_sockets": [],
    }
    return probe(channel, **(asked | changes))


def column(result: Probed, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    return result.rows[:, PROBE_FIELDS.index(name)]


def test_order_holds_each_state_as_often_as_asked_and_blocks_hold_each_once() -> None:
    drawn = [wish.state for wish in order([COLD, WARM], "seed")]

    assert Counter(drawn) == {State.COLD: 4, State.WARM: 4}
    assert all(set(drawn[at : at + 2]) == {State.COLD, State.WARM} for at in range(0, 8, 2))


def test_order_is_the_same_for_the_same_cell_and_differs_between_cells() -> None:
    wishes = [Wish(state=wish.state, count=50, op=wish.op) for wish in (COLD, WARM)]
    one, again, other = (list(order(wishes, seed)) for seed in ("a", "a", "b"))

    assert one == again
    assert one != other


def test_order_with_unequal_counts_ends_with_what_is_left() -> None:
    few = Wish(state=State.COLD, count=1, op="drop-tunnels")

    drawn = [wish.state for wish in order([few, WARM], "seed")]

    assert Counter(drawn) == {State.COLD: 1, State.WARM: 4}
    assert drawn[2:] == [State.WARM] * 3


def test_rows_answers_and_connections_add_up(channel: Channel, running: Backend) -> None:
    before = Counters.read(running.state_dir)

    result = run(channel, running, NEW)

    seen = Counters.read(running.state_dir).since(before)
    assert result.rows.shape == (6 * 4, len(PROBE_FIELDS))
    assert (result.opened, seen.accepted) == (6, 6)
    assert (result.verification.checked, seen.requests) == (24, 24)
    assert result.verification.wrong == 0
    assert result.answers == {"server/b/127.0.0.1": 24}
    assert result.errors == {}
    assert column(result, "ok").all()


def test_sequences_and_states(channel: Channel, running: Backend) -> None:
    result = run(channel, running, NEW)

    assert column(result, "connection").tolist() == [number for number in range(6) for _ in range(4)]
    assert column(result, "sequence").tolist() == [0, 1, 2, 3] * 6
    new, steady = CODES[State.NEW], CODES[State.STEADY]
    assert column(result, "state").tolist() == [new, steady, steady, steady] * 6


def test_the_steps_of_a_request_follow_each_other(channel: Channel, running: Backend) -> None:
    result = run(channel, running, NEW)

    steps = ("intended_ns", "start_ns", "connected_ns", "sent_ns", "first_byte_ns", "end_ns")
    times = np.stack([column(result, name) for name in steps], axis=1)
    assert (np.diff(times, axis=1) >= 0).all()
    assert (np.diff(times[:, 1]) > 0).all()


def test_every_probe_waits_the_gap_and_later_requests_keep_their_pace(
    channel: Channel, running: Backend
) -> None:
    result = run(channel, running, NEW)

    intended = column(result, "intended_ns").reshape(6, 4)
    ends = column(result, "end_ns").reshape(6, 4)
    assert (intended[1:, 0] - ends[:-1, 3] >= GAP_NS).all()
    assert (intended[:, 1] - ends[:, 0] >= 500_000).all()
    assert (np.diff(intended[:, 1:], axis=1) == 500_000).all()


def test_each_connection_has_a_port_of_its_own(channel: Channel, running: Backend) -> None:
    ports = column(run(channel, running, NEW), "local_port").reshape(6, 4)

    assert (ports == ports[:, :1]).all()
    assert len(set(ports[:, 0].tolist())) == 6


def test_the_backend_s_word_for_each_connection_is_told(channel: Channel, running: Backend) -> None:
    """With nothing in between it saw the client's own ports; the connection that primes is in no sample."""
    result = run(channel, running, COLD, WARM)

    first = result.rows[column(result, "sequence") == 0]
    ports = first[:, PROBE_FIELDS.index("local_port")].tolist()
    assert result.seen_ports == tuple(zip(ports, ports, strict=True))


def test_every_probe_calls_every_bench_socket_once(
    channel: Channel, running: Backend, tmp_path: Path
) -> None:
    sockets = [BenchSocket(tmp_path / name) for name in ("a", "b")]

    result = run(channel, running, COLD, WARM, bench_sockets=[bench.path for bench in sockets])

    first = result.rows[column(result, "sequence") == 0]
    ops = {CODES[State.COLD]: "drop-tunnels", CODES[State.WARM]: "nothing"}
    expected = [ops[code] for code in first[:, PROBE_FIELDS.index("state")].tolist()]
    accounts = ["nothing"] * (1 + CONTROLS)
    assert [bench.calls for bench in sockets] == [expected + accounts] * 2
    assert 0 < result.control_p50_ns <= result.control_max_ns


def test_warm_is_primed_by_one_connection_without_a_row(channel: Channel, running: Backend) -> None:
    before = Counters.read(running.state_dir)

    result = run(channel, running, COLD, WARM)

    seen = Counters.read(running.state_dir).since(before)
    assert len(result.rows) == 8 * 4
    assert (result.opened, seen.accepted) == (9, 9)
    assert (result.verification.checked, seen.requests) == (33, 33)


def test_tunnels_that_would_not_go_are_told_for_cold_probes_only(
    channel: Channel, running: Backend, tmp_path: Path
) -> None:
    bench = BenchSocket(tmp_path / "a", residual=1)

    result = run(channel, running, COLD, WARM, bench_sockets=[bench.path])

    cold = column(result, "connection")[column(result, "state") == CODES[State.COLD]]
    assert [left.connection for left in result.residual_tunnels] == cold.tolist()
    assert {(left.tunnels_outbound, left.tunnels_inbound) for left in result.residual_tunnels} == {(1, 0)}


@pytest.mark.parametrize(("pod", "node", "which"), [("other", "", "wrong_pod"), ("", "a", "wrong_node")])
def test_an_answer_from_elsewhere_is_not_ok(
    channel: Channel, running: Backend, pod: str, node: str, which: str
) -> None:
    result = run(channel, running, NEW, target=target(running, pod=pod, node=node))

    assert getattr(result.verification, which) == 6 == result.verification.wrong
    assert len(result.rows) == 6  # a connection's first wrong answer is its last request
    assert not column(result, "ok").any()
    assert result.answers == {"server/b/127.0.0.1": 6}


def test_an_answer_that_saw_another_source_is_not_ok(channel: Channel, running: Backend) -> None:
    result = run(channel, running, NEW, source="10.0.0.1")

    assert result.verification.wrong_source == 6 == result.verification.wrong


def test_a_replayed_answer_is_not_ok(channel: Channel, running: Backend) -> None:
    """A liar that answers every request with the first one's nonce."""
    first: list[bytes] = []

    def lie(connection: socket.socket) -> None:
        while request := connection.recv(4096):
            first.append(re.findall(rb"n=(\w+)", request)[0])
            port = connection.getpeername()[1]
            body = b"nonce=%s pod=server node=b source=127.0.0.1:%d\n" % (first[0], port) + b"x" * 128
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with server(lie) as port:
        result = run(channel, running, NEW, target=target(running, port))

    assert result.verification.wrong_nonce == 5 + 1  # all but the very first request
    assert column(result, "ok").sum() == 1
    assert len(set(first)) == len(first) == 7


def test_a_refused_port_is_counted_and_not_tried_again(channel: Channel, running: Backend) -> None:
    result = run(channel, running, NEW, target=target(running, free_ports(1)[0]))

    assert result.errors == {"ECONNREFUSED": 6}
    assert (result.opened, len(result.rows), result.verification.checked) == (6, 6, 0)
    assert not column(result, "ok").any()
    assert not column(result, "connected_ns").any()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "closed"),
        (b"junk\r\n", "bad-head"),
    ],
)
def test_broken_answers_are_counted_by_kind(
    channel: Channel, running: Backend, said: bytes, kind: str
) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)

    with server(converse) as port:
        result = run(channel, running, NEW, target=target(running, port))

    assert result.errors == {kind: 6}
    assert not column(result, "ok").any()


def test_a_reset_is_counted_as_one(channel: Channel, running: Backend) -> None:
    def converse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with server(converse) as port:
        result = run(channel, running, NEW, target=target(running, port))

    assert result.errors == {"ECONNRESET": 6}


def test_a_connection_s_close_is_seen_by_the_peer_before_the_next_one_opens(
    channel: Channel, running: Backend
) -> None:
    events: list[str] = []
    guard = threading.Lock()

    def converse(connection: socket.socket) -> None:
        with guard:
            events.append("open")
        relayed = running.connect(running.app_port)
        with relayed:
            while request := connection.recv(4096):
                relayed.sendall(request)
                connection.sendall(relayed.recv(4096))
        with guard:
            events.append("end")

    with server(converse) as port:
        result = run(channel, running, NEW, target=target(running, port))

    assert result.errors == {}
    assert events == ["open", "end"] * 6


def test_a_close_in_order_leaves_our_port_in_time_wait(channel: Channel, running: Backend) -> None:
    ports = set(column(run(channel, running, NEW), "local_port").tolist())

    waiting = {
        int(words[1].split(":")[1], 16)
        for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if words[3] == "06"  # TCP_TIME_WAIT, include/net/tcp_states.h
    }
    assert ports <= waiting


def test_a_bench_socket_that_nobody_serves_refuses_the_cell(
    channel: Channel, running: Backend, tmp_path: Path
) -> None:
    with pytest.raises(ControlError, match=r"bout 0001-r0-test: bench socket: connect to .*/none") as caught:
        run(channel, running, COLD, bench_sockets=[tmp_path / "none"])

    assert caught.value.kind == "bench-socket"


def test_a_bad_request_is_refused_and_the_process_lives(channel: Channel, running: Backend) -> None:
    with pytest.raises(ControlError, match="bad request: KeyError") as caught:
        channel.call("probe", cell="x")

    assert caught.value.kind == "bad-request"
    assert len(run(channel, running, NEW).rows) == 24


def test_large_answers_are_read_whole(channel: Channel, running: Backend) -> None:
    result = run(channel, running, NEW, response_bytes=300_000)

    assert column(result, "ok").all()
    assert (column(result, "end_ns") > column(result, "first_byte_ns")).all()


def test_a_state_s_code_is_its_place_among_the_words(channel: Channel, running: Backend) -> None:
    frame = probe_frame(run(channel, running, NEW).rows)

    assert frame["state"].tolist() == ["new", "steady", "steady", "steady"] * 6
