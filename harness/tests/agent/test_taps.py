"""Taps on a real link: what is kept, what is found in it, and the times that the kernel gave it."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.agent import clock, netns
from harness.agent.attempt import attempt
from harness.agent.listening import moments
from harness.agent.taps import Stamp, open_nonce_tap, open_stamp_tap
from harness.tests.agent.conftest import MakeNamespace

NONCE = "ab0123456789cdef"
CONNECTIONS = 5
MANY = 200

Answer = Callable[[socket.socket], None]


def _served(answer: Answer, work: Callable[[int], Any], times: int = 1, address: str = "127.0.0.1") -> Any:
    """What `work` returns when given the port of a server on loopback that takes so many connections."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:

        def serve() -> None:
            for _ in range(times):
                with listener.accept()[0] as connection:
                    answer(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        found = work(listener.getsockname()[1])
        serving.join()
        return found


def _echo(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nnonce=" + connection.recv(4096)[9:25])


def _close(connection: socket.socket) -> None:
    connection.recv(4096)


def _reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.netns
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_each_nonce_is_found_and_payload_alone_is_kept(address: str, make_namespace: MakeNamespace) -> None:
    """Request and answer hold it; SYNs, acknowledgements and FINs are no payload."""

    def heard(port: int) -> dict[str, int]:
        tap = open_nonce_tap("lo")
        attempt(address=address, port=port, nonce=NONCE)
        attempt(address=address, port=port, nonce="f" * 16)
        found = tap.heard([NONCE])
        tap.close()
        return found[NONCE]

    found = netns.inside(make_namespace(), lambda: _served(_echo, heard, 2, address))

    assert {"frames": 4, "hits": 2, "unkept": 0} == found


@pytest.mark.netns
def test_what_comes_when_there_is_no_room_is_counted(make_namespace: MakeNamespace) -> None:
    """The first frames are enough, and memory is bounded."""

    def heard(port: int) -> dict[str, int]:
        tap = open_nonce_tap("lo")
        for _ in range(MANY):
            attempt(address="127.0.0.1", port=port, nonce=NONCE)
        found = tap.heard([NONCE])
        tap.close()
        return found[NONCE]

    found = netns.inside(make_namespace(), lambda: _served(_echo, heard, MANY))

    assert 2 * MANY == found["frames"] + found["unkept"]
    assert 50 < found["hits"] == found["frames"] < 200


@pytest.mark.netns
def test_stamps_lie_between_the_times_of_who_connects(make_namespace: MakeNamespace) -> None:
    """The kernel's times, told by one clock, in the order of cause and effect on the other."""

    def timed(port: int) -> list[list[int]]:
        tap = open_stamp_tap("lo")
        bracket, rows = clock.bracket(), []
        for _ in range(CONNECTIONS):
            with socket.socket() as connection:
                start = time.monotonic_ns()
                connection.connect(("127.0.0.1", port))
                connected = time.monotonic_ns()
                connection.sendall(b"GET /0?n=" + NONCE.encode())
                connection.recv(4096)
                first_byte = time.monotonic_ns()
                rows.append((connection.getsockname()[1], start, connected, first_byte))
        found = moments(list(tap.stamps()), [row[0] for row in rows])
        tap.close()
        offset = bracket["wall_ns"] - (bracket["before_ns"] + bracket["after_ns"]) // 2
        error = bracket["after_ns"] - bracket["before_ns"]
        orders = []
        for local, start, connected, first_byte in rows:
            at = {name: value - offset for name, value in found[str(local)].items()}
            order = [start - error, at["syn_ns"], at["syn_ack_ns"], connected + error]
            orders += [order, [connected - error, at["answer_ns"], first_byte + error]]
        return orders

    orders = netns.inside(make_namespace(), lambda: _served(_echo, timed, CONNECTIONS))

    assert [sorted(order) for order in orders] == orders
    assert 2 * CONNECTIONS == len(orders)


def _stamp(at: int, source: int, destination: int, **kind: bool) -> Stamp:
    found = {"sent": False, "syn": False, "payload": False, **kind}
    return Stamp(wall_ns=at, source_port=source, destination_port=destination, **found)


def test_over_loopback_each_frame_is_told_once_by_the_side_that_the_client_is_on() -> None:
    stamps = [
        _stamp(1, 40000, 15001, sent=True, syn=True),
        _stamp(2, 40000, 15001, syn=True),
        _stamp(3, 15001, 40000, sent=True, syn=True),
        _stamp(4, 15001, 40000, syn=True),
        _stamp(5, 15001, 40000),
        _stamp(6, 15001, 40000, sent=True, payload=True),
        _stamp(7, 15001, 40000, payload=True),
        _stamp(8, 15001, 40000, payload=True),
        _stamp(9, 40001, 15001, sent=True, syn=True),
    ]

    found = moments(stamps, [40000, 40001])

    assert {"40000": {"syn_ns": 1, "syn_ack_ns": 4, "answer_ns": 7}} == found


def test_a_bracket_is_narrow_and_in_order() -> None:
    found = clock.bracket()

    assert found["before_ns"] <= found["after_ns"]
    assert found["after_ns"] - found["before_ns"] < 1_000_000
    assert abs(found["wall_ns"] - time.time_ns()) < 60 * 10**9


@pytest.mark.netns
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_echo, {"connected": True, "answer_bytes": 41, "ended": "answered"}),
        (_close, {"connected": True, "answer_bytes": 0, "ended": "closed"}),
        (_reset, {"connected": True, "answer_bytes": 0, "ended": "ECONNRESET"}),
    ],
)
def test_an_attempt_says_how_it_ended(
    answer: Answer, expected: dict[str, Any], make_namespace: MakeNamespace
) -> None:
    found = netns.inside(
        make_namespace(),
        lambda: _served(answer, lambda port: attempt(address="127.0.0.1", port=port, nonce=NONCE)),
    )

    assert expected == found


@pytest.mark.netns
def test_an_attempt_that_finds_nobody_did_not_connect(make_namespace: MakeNamespace) -> None:
    def tried() -> dict[str, Any]:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return attempt(address="127.0.0.1", port=9, nonce=os.urandom(8).hex())

    assert {"connected": False, "answer_bytes": 0, "ended": "ECONNREFUSED"} == netns.inside(
        make_namespace(), tried
    )
