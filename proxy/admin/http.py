"""HTTP/1.1 as little as is needed: one request per connection, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs

MAX_HEAD = 8192
"""Bytes of request line and headers."""
TIMEOUT_S = 5.0
"""For the whole request and its answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. A body is not read: nothing here takes one."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[Request], Awaitable[Response]]


class BadRequest(ValueError):
    """What came is no HTTP request."""


def parse(head: bytes) -> Request:
    """Read a request's head, up to and with its empty line.

    Raises:
        BadRequest: No HTTP/1 request line, or a target that is no path.
    """
    try:
        line = head.partition(b"\r\n")[0].decode("ascii")
        method, target, version = line.split(" ")
    except (UnicodeDecodeError, ValueError) as exc:
        raise BadRequest("no request line") from exc
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not target.startswith("/") or not method.isalpha():
        raise BadRequest("no request line")
    path, _, query = target.partition("?")
    try:
        parsed = parse_qs(query, keep_blank_values=True, max_num_fields=8)
    except ValueError as exc:
        raise BadRequest("too many fields") from exc
    return Request(method, path, {name: values[-1] for name, values in parsed.items()})


async def serve(connection: socket.socket, handler: Handler) -> None:
    """Answer one request and close. Silence and drips end at the time limit."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_S):
        head = bytearray()
        while b"\r\n\r\n" not in head and len(head) <= MAX_HEAD:
            chunk = await loop.sock_recv(connection, MAX_HEAD)
            if not chunk:
                return
            head += chunk
        try:
            if b"\r\n\r\n" not in head[: MAX_HEAD + 4]:
                raise BadRequest("head too large")
            request = parse(bytes(head))
        except BadRequest as exc:
            response = Response(HTTPStatus.BAD_REQUEST, f"{exc}\n".encode())
        else:
            response = await handler(request)
        await loop.sock_sendall(connection, render(response))
        connection.shutdown(socket.SHUT_WR)


def render(response: Response) -> bytes:
    """The answer's bytes."""
    head = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
        f"content-type: {response.content_type}\r\n"
        f"content-length: {len(response.body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + response.body
