"""The HTTP ports: what they answer, and that junk changes nothing (B75, T53)."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin import http, pages
from proxy.admin.accept import LIMIT, accept, tcp_listener
from proxy.admin.http import BadRequest, Handler, Request, Response, parse
from proxy.telemetry import logs
from proxy.telemetry.exposition import Family, Form
from proxy.tests.namespaces import open_descriptors
from proxy.tests.scrapes import read


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET metrics HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"G\xffT / HTTP/1.1\r\n\r\n",
        b"GET /?" + b"&".join(b"%d=1" % n for n in range(9)) + b" HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)
def test_what_is_no_request(head: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(head)


def test_a_request_with_its_query() -> None:
    assert parse(b"POST /logging?level=info%2Caccess=off HTTP/1.1\r\nhost: x\r\n\r\n") == Request(
        "POST", "/logging", {"level": "info,access=off"}
    )


def test_a_request_with_what_it_accepts() -> None:
    head = b"GET / HTTP/1.0\r\nhost: x\r\nAccept: a/b;q=1\r\nACCEPT:c/d\r\n\r\n"

    assert parse(head) == Request("GET", "/", {}, "a/b;q=1, c/d", "HTTP/1.0")


@given(st.binary(max_size=200))
def test_any_head_is_refused_or_read(head: bytes) -> None:
    try:
        parse(head)
    except BadRequest:
        return


def answer(
    handler: Handler, method: str, path: str, query: Mapping[str, str] | None = None, *, accept: str = ""
) -> Response:
    async def ask() -> Response:
        return await handler(Request(method, path, query or {}, accept))

    return asyncio.run(ask())


def body_of(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else "".join(response.body).encode()


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def admin(stop: asyncio.Event) -> Iterator[Handler]:
    level = logging.getLogger().level
    logs.set_levels([("", logging.INFO)])
    yield pages.admin(lambda: iter(('{"services"', ": []}")), stop, [("", logging.INFO)])
    logs.set_levels(())
    logging.getLogger().setLevel(level)
    logging.getLogger("phases").setLevel(logging.NOTSET)


def test_only_post_stops_the_proxy(admin: Handler, stop: asyncio.Event) -> None:
    assert answer(admin, "GET", "/quitquitquit").status is HTTPStatus.METHOD_NOT_ALLOWED
    assert not stop.is_set()
    assert answer(admin, "POST", "/quitquitquit").status is HTTPStatus.OK
    assert stop.is_set()


def test_log_levels_change_by_post_and_only_to_known_ones(admin: Handler) -> None:
    assert answer(admin, "POST", "/logging", {"level": "debug"}).status is HTTPStatus.OK
    assert logging.getLogger().level == logging.DEBUG
    for query in ({"level": "loud"}, {"level": "=info"}, {"level": "info,"}):
        assert answer(admin, "POST", "/logging", query).status is HTTPStatus.BAD_REQUEST
    assert answer(admin, "GET", "/logging", {"level": "info"}).status is HTTPStatus.METHOD_NOT_ALLOWED
    assert logging.getLogger().level == logging.DEBUG


def test_levels_are_listed_added_to_and_reset(admin: Handler) -> None:
    """P55: as ztunnel's, whose own module names are understood."""
    said = [
        body_of(answer(admin, "POST", "/logging", query)).decode()
        for query in (
            {},
            {"level": "ztunnel::pool=debug"},
            {"level": "access=off,warn"},
            {"reset": "", "level": "access=error"},
            {"reset": ""},
        )
    ]

    assert said == [
        "current log level is info\n",
        "current log level is proxy.pool=debug,info\n",
        "current log level is proxy.pool=debug,access=off,warn\n",
        "current log level is access=error,info\n",
        "current log level is info\n",
    ]
    assert logging.getLogger("proxy.pool").level == logging.NOTSET


def test_dump_index_and_unknown_paths(admin: Handler) -> None:
    assert json.loads(body_of(answer(admin, "GET", "/config_dump"))) == {"services": []}
    assert b"/quitquitquit" in body_of(answer(admin, "GET", "/"))
    assert answer(admin, "GET", "/etc/passwd").status is HTTPStatus.NOT_FOUND


def test_readiness_says_what_it_waits_for() -> None:
    waiting = ["mesh state", "pods"]
    ready = pages.readiness(lambda: waiting)

    response = answer(ready, "GET", "/healthz/ready")
    assert (response.status, response.body) == (500, b"not ready, pending: mesh state, pods\n")
    waiting.clear()
    assert answer(ready, "GET", "/healthz/ready").status is HTTPStatus.OK


@pytest.mark.parametrize("path", ["/metrics", "/stats/prometheus"])
@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.PROMETHEUS),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Form.PROMETHEUS),
        ("Application/OpenMetrics-Text; version=1.0.0; q=0.8, text/plain", Form.OPEN_METRICS),
    ],
)
def test_metrics_in_the_form_that_is_asked_for(path: str, accept: str, form: Form) -> None:
    async def families() -> list[Family]:
        return [Family("x", "counter", "Text", [("", 1)])]

    response = answer(pages.stats(families), "GET", path, accept=accept)

    assert response.content_type == form.value
    assert read(body_of(response).decode(), form) == {"x_total": [({}, 1)]}


def exchange(address: tuple[str, int], *chunks: bytes, half_close: bool = False) -> bytes:
    with socket.create_connection(address, timeout=10) as sock:
        for chunk in chunks:
            sock.sendall(chunk)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := sock.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received


def served(story: Callable[[tuple[str, int]], Awaitable[None]], handler: Handler) -> None:
    """Run the story against a real port."""

    async def run() -> None:
        with tcp_listener("127.0.0.1", 0) as listener:
            async with asyncio.TaskGroup() as tasks:
                server = tasks.create_task(accept(listener, http.Server(handler).serve))
                await story(listener.getsockname())
                server.cancel()

    before = open_descriptors()
    asyncio.run(run())
    assert open_descriptors() == before


LONG = "".join(f"{number}\n" for number in range(100_000))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_long_body_comes_in_pieces_and_whole(version: str) -> None:
    async def long(_: Request) -> Response:
        return Response(body=(LONG[start : start + 10_000] for start in range(0, len(LONG), 10_000)))

    async def story(address: tuple[str, int]) -> None:
        request = f"GET / HTTP/{version}\r\n\r\n".encode()
        received = await asyncio.to_thread(exchange, address, request)
        head, _, body = received.partition(b"\r\n\r\n")
        if version == "1.1":
            assert b"transfer-encoding: chunked" in head
            body = unchunked(body)
        assert body.decode() == LONG

    served(story, long)


def unchunked(body: bytes) -> bytes:
    """What a chunked body says, to its last chunk."""
    joined = b""
    while True:
        length, _, body = body.partition(b"\r\n")
        if not int(length, 16):
            assert body == b"\r\n"
            return joined
        joined, body = joined + body[: int(length, 16)], body[int(length, 16) + 2 :]


def test_a_body_that_breaks_off_is_seen_to(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[str]:
        yield "a beginning".ljust(http.CHUNK)
        raise ZeroDivisionError

    async def page(_: Request) -> Response:
        return Response(body=broken())

    async def story(address: tuple[str, int]) -> None:
        received = await asyncio.to_thread(exchange, address, b"GET / HTTP/1.1\r\n\r\n")
        _, _, body = received.partition(b"\r\n\r\n")
        assert body == b"%x\r\n%b\r\n" % (http.CHUNK, b"a beginning".ljust(http.CHUNK))

    served(story, page)
    assert "ZeroDivisionError" in caplog.text


READY = pages.readiness(list)
GOOD = b"GET /healthz/ready HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        ((GOOD,), b"HTTP/1.1 200 OK"),
        (tuple(GOOD[n : n + 1] for n in range(len(GOOD))), b"HTTP/1.1 200 OK"),
        ((GOOD + b"trailing body",), b"HTTP/1.1 200 OK"),
        ((b"\x16\x03\x01" + b"x" * 100 + b"\r\n\r\n",), b"HTTP/1.1 400 Bad Request"),
        ((b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000,), b"HTTP/1.1 400 Bad Request"),
        ((b"BREW /healthz/ready HTTP/1.1\r\n\r\n",), b"HTTP/1.1 405 Method Not Allowed"),
    ],
)
def test_over_a_socket(chunks: tuple[bytes, ...], status: bytes) -> None:
    async def story(address: tuple[str, int]) -> None:
        found = await asyncio.to_thread(exchange, address, *chunks)
        assert found.partition(b"\r\n")[0] == status

    served(story, READY)


def test_half_a_request_gets_no_answer_and_no_wait() -> None:
    async def story(address: tuple[str, int]) -> None:
        assert await asyncio.to_thread(exchange, address, b"GET /hea", half_close=True) == b""

    served(story, READY)


def test_silence_ends_at_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.05)

    async def story(address: tuple[str, int]) -> None:
        assert await asyncio.to_thread(exchange, address, b"GET /hea") == b""

    served(story, READY)


def hold(address: tuple[str, int], said: bytes, count: int, stack: ExitStack) -> None:
    """Connections that are kept, and say no more."""
    for _ in range(count):
        stack.enter_context(socket.create_connection(address, timeout=10)).sendall(said)


@pytest.mark.parametrize("held", [b"", b"GET /healthz/ready HTTP/1.1\r\n"], ids=["silent", "half-asked"])
def test_connections_that_are_held_keep_nobody_out(held: bytes) -> None:
    """P42: of 300, those that waited longest go; a probe is answered at once."""

    async def story(address: tuple[str, int]) -> None:
        with ExitStack() as stack:
            await asyncio.to_thread(hold, address, held, 300, stack)
            began = time.monotonic()
            found = await asyncio.to_thread(exchange, address, GOOD)
            assert found.startswith(b"HTTP/1.1 200 OK")
            assert time.monotonic() - began < http.REQUEST_S / 2

    served(story, READY)


def test_one_that_reads_is_not_turned_away_for_those_that_ask_nothing() -> None:
    """P42: an answer on its way outlives any crowd."""

    async def long(_: Request) -> Response:
        return Response(body=iter(["x" * (1 << 20)] * 16))

    async def story(address: tuple[str, int]) -> None:
        with ExitStack() as stack:
            reading = stack.enter_context(socket.create_connection(address))
            reading.sendall(b"GET / HTTP/1.0\r\n\r\n")
            reading.setblocking(False)
            loop = asyncio.get_running_loop()
            received = len(await loop.sock_recv(reading, 100))
            await asyncio.to_thread(hold, address, b"", 3 * http.MOST_WAITING, stack)
            while chunk := await loop.sock_recv(reading, 1 << 20):
                received += len(chunk)
            assert received > 16 << 20

    served(story, long)


def test_a_crowd_waits_its_turn_and_a_broken_page_harms_only_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.2)
    at_once: list[int] = [0, 0]

    async def count(request: Request) -> Response:
        at_once[0] += 1
        at_once[1] = max(at_once)
        await asyncio.sleep(0.01)
        at_once[0] -= 1
        if request.path == "/broken":
            raise ZeroDivisionError
        return Response()

    async def story(address: tuple[str, int]) -> None:
        assert await asyncio.to_thread(exchange, address, b"GET /broken HTTP/1.1\r\n\r\n") == b""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(LIMIT + 20):
                tasks.create_task(asyncio.to_thread(exchange, address, b"GET / HTTP/1.1\r\n\r\n"))

    served(story, count)

    assert at_once[1] <= LIMIT
    assert "ZeroDivisionError" in caplog.text


def test_a_taken_port_is_named() -> None:
    with (
        tcp_listener("127.0.0.1", 0) as first,
        pytest.raises(OSError, match=r"listen on 127\.0\.0\.1:\d+: .*in use"),
    ):
        tcp_listener("127.0.0.1", first.getsockname()[1])
