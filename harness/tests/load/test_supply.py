"""Sockets ahead of their use: how many, from whom, and what is said where there are none."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agent.sockets import NoSockets, SocketServer, tcp_sockets
from harness.control import Refused
from harness.load.supply import Supply
from harness.tests.waiting import until

BATCHES: list[tuple[str, socket.AddressFamily, int]] = []


def make(namespace: str, family: socket.AddressFamily, count: int) -> list[socket.socket]:
    BATCHES.append((namespace, family, count))
    if namespace != "pod-client":
        raise NoSockets(f"no namespace {namespace!r}; known: pod-client")
    return tcp_sockets(family, count)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    BATCHES.clear()
    with SocketServer(tmp_path / "sockets.sock", make):
        yield tmp_path / "sockets.sock"


def test_what_is_stocked_is_taken_without_asking_again(path: Path) -> None:
    with Supply(path, "pod-client", socket.AF_INET) as supply:
        supply.stock(3)
        supply.stock(2)
        taken = [socket.socket(fileno=supply.take()) for _ in range(3)]

        assert BATCHES == [("pod-client", socket.AF_INET, 3)]
        assert (supply.taken, supply.late) == (3, 0)
    for sock in taken:
        with sock:
            assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
            assert sock.getsockname()[1] == 0


def test_large_stocks_come_in_batches_that_fit_a_packet(path: Path) -> None:
    with Supply(path, "pod-client", socket.AF_INET6) as supply:
        supply.stock(600)

        assert [count for _, _, count in BATCHES] == [250, 250, 100]
        assert {family for _, family, _ in BATCHES} == {socket.AF_INET6}


def test_a_socket_fetched_when_it_was_needed_is_told(path: Path) -> None:
    with Supply(path, "pod-client", socket.AF_INET) as supply:
        os.close(supply.take())

        assert supply.late == 1


def test_sockets_that_nobody_took_are_closed(path: Path) -> None:
    before = open_files()
    with Supply(path, "pod-client", socket.AF_INET) as supply:
        supply.stock(100)
        assert open_files() >= before + 100

    until(lambda: open_files() <= before)


def test_the_agent_s_words_reach_who_asked(path: Path) -> None:
    with Supply(path, "pod-other", socket.AF_INET) as supply, pytest.raises(Refused) as refused:
        supply.stock(1)

    assert refused.value.kind == "sockets"
    assert str(refused.value) == (
        f"sockets of pod-other from {path}: no namespace 'pod-other'; known: pod-client"
    )


def test_nobody_there_is_told_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=rf"sockets of pod-client from {tmp_path}/none: No such file"):
        Supply(tmp_path / "none", "pod-client", socket.AF_INET)


def test_an_agent_that_ends_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        with Supply(path, "pod-client", socket.AF_INET) as supply:
            listener.accept()[0].close()
            with pytest.raises(Refused, match=r"closed the connection|Broken pipe|reset"):
                supply.stock(1)
