import errno
from collections.abc import Callable

import pytest

from harness.load.wire import NONCE_BYTES, BadAnswer, Exchange, Target, Verification, error_kind, nonces

TARGET = Target(address="10.244.1.2", port=8080, pod="server", node="b")
SOURCE = "10.244.0.2"
NONCE = b"0123456789abcdef00000001"
LINE = b"nonce=%s pod=server node=b source=10.244.0.2:40000\n"


def answer(
    nonce: bytes = NONCE, *, line: bytes = LINE, padding: bytes = b"xxxx", status: bytes = b"200 OK"
) -> bytes:
    body = (line % nonce if b"%s" in line else line) + padding
    head = (
        b"HTTP/1.1 %s\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 19:46:48 GMT\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (status, len(body)) + body


def exchange(verification: Verification | None = None, *, response_bytes: int = 4) -> Exchange:
    return Exchange(TARGET, SOURCE, response_bytes, verification or Verification())


def reader(data: bytes, *, at_once: int) -> Callable[[memoryview], int]:
    """A connection on which `data` arrives `at_once` bytes at a time, then ends."""
    left = memoryview(data)

    def read(view: memoryview) -> int:
        nonlocal left
        size = min(at_once, len(left), len(view))
        view[:size] = left[:size]
        left = left[size:]
        return size

    return read


def receive(tried: Exchange, data: bytes, nonce: bytes = NONCE, *, at_once: int = 10_000) -> bool:
    read = reader(data, at_once=at_once)
    size = read(memoryview(tried.buffer))
    if size != tried.total:
        size = tried.complete(read, size)
    return tried.judge(size, nonce)


def test_a_request_names_size_nonce_and_host() -> None:
    request = exchange(response_bytes=128).request(NONCE)

    assert request == b"GET /128?n=" + NONCE + b" HTTP/1.1\r\nHost: 10.244.1.2:8080\r\n\r\n"


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 100, 10_000])
def test_a_right_answer_is_right_however_it_arrives(at_once: int) -> None:
    tried = exchange()

    assert receive(tried, answer(), at_once=at_once)


def test_later_answers_are_told_by_their_shape_whatever_their_date() -> None:
    counted = Verification()
    tried = exchange(counted)
    receive(tried, answer())
    later = answer(b"0123456789abcdef00000002").replace(b"19:46:48", b"19:46:49")

    assert tried.total == len(later)
    assert receive(tried, later, b"0123456789abcdef00000002")
    assert counted.checked == 1  # the second is counted when the connection ends
    tried.end()
    tried.end()
    assert counted.checked == 2
    assert counted.answers == {"server/b/10.244.0.2": 2}


@pytest.mark.parametrize(
    ("wrong", "which"),
    [
        (answer(b"f" * NONCE_BYTES), "wrong_nonce"),
        (answer(line=LINE.replace(b"pod=server", b"pod=other!")), "wrong_pod"),
        (answer(line=LINE.replace(b"node=b", b"node=a")), "wrong_node"),
        (answer(line=LINE.replace(b"10.244.0.2", b"10.244.0.9")), "wrong_source"),
        (answer(padding=b"xxyx"), "wrong_bytes"),
        (answer(padding=b""), "wrong_bytes"),
        (answer(padding=b"xxxxx"), "wrong_bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("learned", [False, True])
def test_each_thing_that_is_wrong_is_counted_as_itself(wrong: bytes, which: str, learned: bool) -> None:
    counted = Verification()
    tried = exchange(counted)
    if learned:
        receive(tried, answer())

    assert not receive(tried, wrong)
    counts = counted.document()["verification"]
    assert counts.pop("checked") == 1 + learned
    assert counts == {name: int(name == which) for name in counts}


def test_everything_wrong_at_once_is_counted_in_each() -> None:
    counted = Verification()
    line = b"nonce=x pod=y node=z source=1.2.3.4:5\n"

    assert not receive(exchange(counted), answer(line=line, padding=b"!"))
    assert set(counted.document()["verification"].values()) == {1}
    assert counted.answers == {"y/z/1.2.3.4": 1}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "closed"),
        (answer()[:-1], "closed"),
        (answer()[:40], "closed"),
        (answer() + b"!", "bad-length"),
        (answer() + answer(), "bad-length"),
        (answer(padding=b"x" * 9000), "bad-length"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "bad-head"),
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n", "bad-head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "bad-head"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000, "bad-head"),
        (answer(status=b"404 Not Found"), "status-404"),
        (answer(status=b"503 Service Unavailable"), "status-503"),
        (answer(line=b"hello world\n"), "bad-answer"),
        (answer(line=b"nonce=1 pod=server node=b", padding=b""), "bad-answer"),
    ],
)
def test_what_is_no_answer_of_the_backend_has_a_kind(data: bytes, kind: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        receive(exchange(), data)

    assert caught.value.kind == kind


def test_a_length_that_changes_on_a_connection_is_no_obstacle() -> None:
    tried = exchange()
    receive(tried, answer())
    longer = LINE.replace(b"40000", b"400000")

    assert receive(tried, answer(line=longer))
    assert receive(tried, answer(), at_once=50)


def test_nonces_differ_and_have_the_announced_width() -> None:
    made = {nonces() for _ in range(100)}

    assert len(made) == 100
    assert {len(prefix + b"%08x" % 7) for prefix in made} == {NONCE_BYTES}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(errno.ECONNRESET, ""), "ECONNRESET"),
        (BlockingIOError(errno.EAGAIN, ""), "timeout"),
        (BlockingIOError(errno.EINPROGRESS, ""), "timeout"),
        (TimeoutError(errno.ETIMEDOUT, ""), "ETIMEDOUT"),
        (OSError(errno.EADDRNOTAVAIL, ""), "EADDRNOTAVAIL"),
        (TimeoutError("ours"), "TimeoutError"),
    ],
)
def test_errors_are_counted_by_the_kernel_s_word(error: OSError, kind: str) -> None:
    assert error_kind(error) == kind
