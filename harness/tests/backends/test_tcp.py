import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest

from harness.backends.pattern import BLOCK, PERIOD_BYTES, pattern
from harness.backends.tcp import MARK_BYTES
from harness.tests.backends.running import Backend, backend


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend(tmp_path_factory.mktemp("state")) as started:
        yield started


def read_all(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as reader:
        return reader.read()


def send_all(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def test_echo_sends_everything_back_and_then_ends(running: Backend) -> None:
    sent = pattern(13, 3_000_001)
    with running.connect(running.echo_port) as connection:
        writer = threading.Thread(target=send_all, args=(connection, sent))
        writer.start()
        received = read_all(connection)
        writer.join()

    assert received == sent


def test_echo_answers_after_the_other_direction_has_ended(running: Backend) -> None:
    with running.connect(running.echo_port) as connection:
        connection.sendall(b"late")
        connection.shutdown(socket.SHUT_WR)

        assert read_all(connection) == b"late"


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_sink_answers_count_and_hash(running: Backend, size: int) -> None:
    sent = pattern(21, size)
    with running.connect(running.sink_port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)

        *marks, last = read_all(connection).splitlines()
    assert last == f"{size} {hashlib.sha256(sent).hexdigest()}".encode()
    assert all(int(mark) % MARK_BYTES == 0 for mark in marks)
    assert [int(mark) for mark in marks][-1:] == [size - size % MARK_BYTES][: size // MARK_BYTES]


def test_sink_says_what_has_arrived_while_the_sender_pauses(running: Backend) -> None:
    with running.connect(running.sink_port) as connection, connection.makefile("rb") as reader:
        for pieces in (1, 4):
            before = 0 if pieces == 1 else MARK_BYTES
            connection.sendall(bytes(pieces * MARK_BYTES))
            said = before
            while said < before + pieces * MARK_BYTES:
                said = int(reader.readline())

            assert said == before + pieces * MARK_BYTES


@pytest.mark.parametrize("size", [1, 8, PERIOD_BYTES - 1, PERIOD_BYTES, PERIOD_BYTES + 1, 10_000_000])
def test_source_sends_exactly_the_bytes_asked_for(running: Backend, size: int) -> None:
    with running.connect(running.source_port) as connection:
        connection.sendall(f"{size}\n".encode())
        connection.shutdown(socket.SHUT_WR)

        assert read_all(connection) == pattern(0, size)


def test_source_goes_on_where_it_ended(running: Backend) -> None:
    """A live connection is asked again and again, ahead of what has arrived or after it."""
    sizes = [1000, PERIOD_BYTES, 7, 300_000]
    with running.connect(running.source_port) as connection, connection.makefile("rb") as reader:
        connection.sendall(b"%d\n" % sizes[0])
        received = reader.read(sizes[0])
        connection.sendall(b"%d\n%d\n%d\n" % tuple(sizes[1:]))
        connection.shutdown(socket.SHUT_WR)
        received += reader.read()

    assert received == pattern(0, sum(sizes))


def test_two_large_requests_share_the_source(running: Backend) -> None:
    with running.connect(running.source_port) as one, running.connect(running.source_port) as two:
        for connection in (one, two):
            connection.sendall(b"10000000000\n")
        for connection in (one, two, one, two):
            with connection.makefile("rb", buffering=0) as reader:
                assert reader.read(8)


@pytest.mark.parametrize("line", [b"\n", b"-1\n", b"12x\n", b"1" * 30, b"0x10\n"])
def test_source_closes_on_a_line_that_is_no_count(running: Backend, line: bytes) -> None:
    with running.connect(running.source_port) as connection:
        connection.sendall(line)
        try:
            received = read_all(connection)
        except ConnectionResetError:  # bytes that it had not read
            received = b""

    assert received == b""


def test_a_reset_ends_one_connection_and_no_other(running: Backend) -> None:
    with running.connect(running.echo_port) as kept:
        broken = running.connect(running.echo_port)
        broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        broken.sendall(b"x")
        broken.close()
        kept.sendall(b"still here")

        assert kept.recv(100) == b"still here"


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 0), (0, 3), (PERIOD_BYTES - 2, 4), (5 * PERIOD_BYTES + 7, 3 * PERIOD_BYTES)]
)
def test_the_pattern_is_the_endless_repetition_of_its_block(offset: int, size: int) -> None:
    whole = BLOCK * 9

    assert pattern(offset, size) == whole[offset : offset + size]


def test_no_usual_buffer_size_divides_the_period() -> None:
    assert all(PERIOD_BYTES % (4096 << k) for k in range(10))
