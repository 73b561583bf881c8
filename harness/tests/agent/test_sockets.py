"""Sockets handed over: the protocol, and that each belongs to the namespace it was asked out of."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.agent import netns
from harness.agent.sockets import NoSockets, SocketServer, tcp_sockets


def ask(path: Path, packet: bytes) -> tuple[dict[str, Any], list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(path))
        connection.send(packet)
        answer, descriptors, _, _ = socket.recv_fds(connection, 4096, 300)
    return json.loads(answer), list(descriptors)


def request(**changes: Any) -> bytes:
    return json.dumps({"namespace": "pod-a", "family": "ipv4", "count": 2} | changes).encode()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    def make(namespace: str, family: socket.AddressFamily, count: int) -> list[socket.socket]:
        if namespace == "pod-gone":
            raise FileNotFoundError(2, "No such file or directory", "/proc/1/ns/net")
        if namespace != "pod-a":
            raise NoSockets(f"node a has no namespace {namespace!r}; known: pod-a")
        return tcp_sockets(family, count)

    with SocketServer(tmp_path / "s.sock", make):
        yield tmp_path / "s.sock"


def test_descriptors_come_with_their_number(path: Path) -> None:
    answer, descriptors = ask(path, request(count=250))

    assert (answer, len(descriptors)) == ({"count": 250}, 250)
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (b"junk", "request b'junk' for sockets"),
        (request(family="ipx"), "expected: namespace, family (ipv4 or ipv6), count"),
        (request(count=0), "0 sockets of pod-a in one packet: expected 1 to 250"),
        (request(count=251), "251 sockets of pod-a in one packet: expected 1 to 250"),
        (request(namespace="pod-x"), "node a has no namespace 'pod-x'; known: pod-a"),
        (request(namespace="pod-gone"), "make 2 sockets in pod-gone: No such file or directory"),
    ],
)
def test_what_cannot_be_made_is_answered_in_words_and_the_next_request_is_served(
    path: Path, packet: bytes, words: str
) -> None:
    answer, descriptors = ask(path, packet)

    assert words in answer["error"]
    assert descriptors == []
    assert ask(path, request(count=1))[0] == {"count": 1}


def test_the_socket_s_file_is_gone_when_the_agent_ends(tmp_path: Path) -> None:
    with SocketServer(tmp_path / "s.sock", lambda *_: []):
        assert (tmp_path / "s.sock").exists()

    assert not (tmp_path / "s.sock").exists()


@contextmanager
def namespace() -> Iterator[str]:
    """A network namespace of a process of its own, by path; its loopback is up."""
    script = "ip link set lo up && echo up && exec sleep 60"
    with subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield f"/proc/{process.pid}/ns/net"
        finally:
            process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
def test_a_socket_belongs_to_the_namespace_it_was_made_in_whoever_connects_it(tmp_path: Path) -> None:
    """The same address in two namespaces, a listener in one: only sockets of that one reach it."""
    with namespace() as served, namespace() as empty:
        paths = {"pod-served": served, "pod-empty": empty}

        def make(name: str, family: socket.AddressFamily, count: int) -> list[socket.socket]:
            return netns.inside(paths[name], partial(tcp_sockets, family, count))

        listener = netns.inside(served, lambda: socket.create_server(("127.0.0.1", 0)))
        address = listener.getsockname()
        with listener, SocketServer(tmp_path / "s.sock", make):
            reached = {}
            for name in paths:
                _, (descriptor,) = ask(tmp_path / "s.sock", request(namespace=name, count=1))
                with socket.socket(fileno=descriptor) as sock:
                    reached[name] = sock.connect_ex(address) == 0

    assert reached == {"pod-served": True, "pod-empty": False}
