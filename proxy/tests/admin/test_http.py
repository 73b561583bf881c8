"""The HTTP ports: what they answer, and that junk changes nothing (B75, T53)."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin import http, pages
from proxy.admin.accept import LIMIT, accept, tcp_listener
from proxy.admin.http import BadRequest, Handler, Request, Response, parse
from proxy.tests.namespaces import open_descriptors


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


@given(st.binary(max_size=200))
def test_any_head_is_refused_or_read(head: bytes) -> None:
    try:
        parse(head)
    except BadRequest:
        return


def answer(handler: Handler, method: str, path: str, query: Mapping[str, str] | None = None) -> Response:
    async def ask() -> Response:
        return await handler(Request(method, path, query or {}))

    return asyncio.run(ask())


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def admin(stop: asyncio.Event) -> Iterator[Handler]:
    level = logging.getLogger().level
    yield pages.admin(lambda: {"mesh": {"version": 3}}, stop)
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
    for query in ({}, {"level": "loud"}, {"level": "=info"}):
        assert answer(admin, "POST", "/logging", query).status is HTTPStatus.BAD_REQUEST
    assert answer(admin, "GET", "/logging", {"level": "info"}).status is HTTPStatus.METHOD_NOT_ALLOWED
    assert logging.getLogger().level == logging.DEBUG


def test_dump_index_and_unknown_paths(admin: Handler) -> None:
    assert json.loads(answer(admin, "GET", "/config_dump").body) == {"mesh": {"version": 3}}
    assert b"/quitquitquit" in answer(admin, "GET", "/").body
    assert answer(admin, "GET", "/etc/passwd").status is HTTPStatus.NOT_FOUND


def test_readiness_says_what_it_waits_for() -> None:
    waiting = ["mesh state", "pods"]
    ready = pages.readiness(lambda: waiting)

    response = answer(ready, "GET", "/healthz/ready")
    assert (response.status, response.body) == (500, b"not ready, waiting for: mesh state, pods\n")
    waiting.clear()
    assert answer(ready, "GET", "/healthz/ready").status is HTTPStatus.OK


def test_metrics_on_both_paths() -> None:
    stats = pages.stats(lambda: (b"x 1\n", "text/x"))

    for path in ("/metrics", "/stats/prometheus"):
        assert answer(stats, "GET", path) == Response(body=b"x 1\n", content_type="text/x")


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
                server = tasks.create_task(accept(listener, partial(http.serve, handler=handler)))
                await story(listener.getsockname())
                server.cancel()

    before = open_descriptors()
    asyncio.run(run())
    assert open_descriptors() == before


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
    monkeypatch.setattr(http, "TIMEOUT_S", 0.05)

    async def story(address: tuple[str, int]) -> None:
        assert await asyncio.to_thread(exchange, address, b"GET /hea") == b""

    served(story, READY)


def test_a_crowd_waits_its_turn_and_a_broken_page_harms_only_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.2)
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
