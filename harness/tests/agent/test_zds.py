"""The ZDS server against a client that is scripted in bytes, as a real ztunnel sends them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from harness.agent.zds import Enrolled, Nack, NoAnswer, ZdsServer
from proxy.proto.zds_pb2 import WorkloadRequest

HELLO = bytes.fromhex("0801")
ACK = bytes.fromhex("0a00")
SNAPSHOT_SENT = bytes.fromhex("1a00")

NETNS = Path("/proc/self/ns/net")


def pod(name: str) -> Enrolled:
    return Enrolled(uid=f"uid-{name}", name=name, namespace="bench", service_account="sa", path=str(NETNS))


class Client:
    """What a proxy would be: connects, says hello, and answers when told to."""

    def __init__(self, path: Path, *, hello: bytes = HELLO) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.socket.connect(str(path))
        self.socket.send(hello)

    def receive(self) -> tuple[bytes, int]:
        """The next packet, and the inode of each namespace that came with it (0: none)."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 4)
        inodes = [os.fstat(descriptor).st_ino for descriptor in descriptors]
        for descriptor in descriptors:
            os.close(descriptor)
        assert len(inodes) < 2
        return data, inodes[0] if inodes else 0

    def serve(self, count: int) -> list[str]:
        """Acknowledge `count` requests, and say which they were."""
        seen = []
        for _ in range(count):
            data, _ = self.receive()
            seen.append(named(data))
            self.socket.send(ACK)
        return seen

    def close(self) -> None:
        self.socket.close()


def named(data: bytes) -> str:
    """A request in a word."""
    request = WorkloadRequest.FromString(data)
    kind = request.WhichOneof("payload") or ""
    return {
        "add": f"add {request.add.uid}",
        "del": f"del {getattr(request, 'del').uid}",
        "snapshot_sent": "snapshot",
    }[kind]


def later(function: Callable[[], object]) -> Future[object]:
    """Call on a thread of its own."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except Exception as exc:  # noqa: BLE001 - handed to whoever waits
            future.set_exception(exc)

    threading.Thread(target=run).start()
    return future


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zds.sock"


@pytest.fixture
def server(path: Path) -> Iterator[ZdsServer]:
    with ZdsServer(path) as server:
        yield server


@pytest.fixture
def client(server: ZdsServer, path: Path) -> Iterator[Client]:
    assert server
    client = Client(path)
    yield client
    client.close()


def test_without_pods_the_snapshot_is_empty(client: Client) -> None:
    assert (SNAPSHOT_SENT, 0) == client.receive()


def test_an_add_carries_one_namespace_and_the_bytes_that_ztunnel_reads(
    server: ZdsServer, client: Client
) -> None:
    client.serve(1)
    enrolled = later(lambda: server.enrol(pod("p")))

    data, inode = client.receive()
    client.socket.send(ACK)
    enrolled.result(5)
    # field 1 add { 1 uid, 2 workload_info { 1 name, 2 namespace, 3 service_account } }
    info = b"\x0a\x01p" + b"\x12\x05bench" + b"\x1a\x02sa"
    add = b"\x0a\x05uid-p" + b"\x12" + bytes([len(info)]) + info
    assert b"\x0a" + bytes([len(add)]) + add == data
    assert NETNS.stat().st_ino == inode


def test_a_withdrawal_is_field_2_of_field_2(server: ZdsServer, client: Client) -> None:
    client.serve(1)
    withdrawn = later(lambda: server.withdraw("uid-p"))

    data, inode = client.receive()
    client.socket.send(ACK)
    withdrawn.result(5)
    assert (b"\x12\x07\x12\x05uid-p", 0) == (data, inode)


def test_each_request_waits_for_the_answer_to_the_one_before(server: ZdsServer, client: Client) -> None:
    client.serve(1)
    calls = [later(partial(server.enrol, pod(name))) for name in "ab"]
    first, _ = client.receive()
    client.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.receive()
    client.socket.settimeout(5)
    client.socket.send(ACK)
    second, _ = client.receive()
    client.socket.send(ACK)
    for call in calls:
        call.result(5)

    assert {"add uid-a", "add uid-b"} == {named(first), named(second)}
    assert ["uid-a", "uid-b"] == server.status()["enrolled"]
    assert 3 == server.status()["acks"]


def test_a_proxy_that_comes_again_is_sent_everything(server: ZdsServer, path: Path, client: Client) -> None:
    client.serve(1)
    for name in "ab":
        call = later(partial(server.enrol, pod(name)))
        client.serve(1)
        call.result(5)
    client.close()
    again = Client(path)

    assert ["add uid-a", "add uid-b", "snapshot"] == again.serve(3)
    again.close()


def test_after_a_release_a_proxy_that_comes_is_sent_nothing_until_pods_are_enrolled_again(
    server: ZdsServer, path: Path, client: Client
) -> None:
    client.serve(1)
    call = later(lambda: server.enrol(pod("a")))
    client.serve(1)
    call.result(5)
    client.close()

    server.release()
    again = Client(path)

    assert ["snapshot"] == again.serve(1)
    assert server.status()["enrolled"] == []
    call = later(lambda: server.enrol(pod("a")))
    assert ["add uid-a"] == again.serve(1)
    call.result(5)
    again.close()


def test_an_enrolment_waits_for_the_proxy_to_come(server: ZdsServer, path: Path) -> None:
    enrolled = later(lambda: server.enrol(pod("p")))
    client = Client(path)

    assert ["add uid-p", "snapshot"] == client.serve(2)
    enrolled.result(5)
    client.close()


def test_an_enrolment_outlives_a_proxy_that_ends_before_it_answers(
    server: ZdsServer, path: Path, client: Client
) -> None:
    client.serve(1)
    enrolled = later(lambda: server.enrol(pod("p")))
    client.receive()
    client.close()
    again = Client(path)

    assert ["add uid-p", "snapshot"] == again.serve(2)
    enrolled.result(5)
    again.close()


def test_a_refusal_reaches_the_caller_and_the_pod_is_not_enrolled(server: ZdsServer, client: Client) -> None:
    client.serve(1)
    enrolled = later(lambda: server.enrol(pod("p")))
    client.receive()
    client.socket.send(b"\x0a\x06\x0a\x04full")

    with pytest.raises(Nack, match="enrol bench/p: the proxy refused: full"):
        enrolled.result(5)
    status = server.status()
    assert ([], 1) == (status["enrolled"], status["nacks"])


def test_without_a_proxy_the_enrolment_says_what_to_look_at(server: ZdsServer, path: Path) -> None:
    with pytest.raises(NoAnswer, match="does it run, and is INPOD_UDS that socket") as caught:
        server.enrol(pod("p"), timeout_s=0.05)

    assert str(path) in str(caught.value)
    assert [] == server.status()["enrolled"]


def test_a_namespace_that_has_ended_is_named(server: ZdsServer, client: Client) -> None:
    client.serve(1)
    gone = Enrolled(uid="u", name="p", namespace="bench", service_account="sa", path="/proc/0/ns/net")

    with pytest.raises(NoAnswer, match="/proc/0/ns/net: No such file"):
        server.enrol(gone)
    assert server.status()["connected"]


@pytest.mark.parametrize(
    "answer",
    [b"", bytes.fromhex("1234"), b"\xff" * 8],
    ids=["empty message", "no ack in it", "not a message"],
)
def test_a_proxy_that_answers_nonsense_is_disconnected(
    answer: bytes, server: ZdsServer, client: Client
) -> None:
    client.receive()
    client.socket.send(answer)

    assert b"" == client.socket.recv(1)
    assert not server.status()["connected"]


def test_a_proxy_that_answers_unasked_is_disconnected(server: ZdsServer, client: Client) -> None:
    client.serve(1)
    client.socket.send(ACK)

    assert b"" == client.socket.recv(1)
    assert not server.status()["connected"]


@pytest.mark.parametrize("hello", [bytes.fromhex("0802"), bytes.fromhex("ff"), bytes.fromhex("0800")])
def test_another_version_is_not_served(hello: bytes, server: ZdsServer, path: Path) -> None:
    client = Client(path, hello=hello)

    assert b"" == client.socket.recv(1)
    assert not server.status()["connected"]
    client.close()


def test_a_proxy_that_does_not_answer_is_disconnected(path: Path) -> None:
    with ZdsServer(path, answer_timeout_s=0.05) as server:
        client = Client(path)
        client.receive()

        assert b"" == client.socket.recv(1)
        assert not server.status()["connected"]
        client.close()


def test_the_newer_proxy_serves_and_both_are_told_of_a_withdrawal(
    server: ZdsServer, path: Path, client: Client
) -> None:
    client.serve(1)
    newer = Client(path)
    newer.serve(1)
    enrolled = later(lambda: server.enrol(pod("p")))
    assert ["add uid-p"] == newer.serve(1)
    enrolled.result(5)
    withdrawn = later(lambda: server.withdraw("uid-p"))

    assert ["del uid-p"] == newer.serve(1)
    assert ["del uid-p"] == client.serve(1)
    withdrawn.result(5)
    newer.close()


def test_closing_removes_the_socket_and_its_thread(path: Path) -> None:
    threads = threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count of entries
    server = ZdsServer(path)
    client = Client(path)
    client.receive()
    server.close()
    client.close()

    assert not path.exists()
    assert threads == threading.active_count()
    assert descriptors == len(os.listdir("/proc/self/fd"))  # noqa: PTH208
