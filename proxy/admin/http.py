"""HTTP/1.1 as little as is needed: one request per connection, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qs

from proxy.background import beside

MAX_HEAD = 8192
"""Bytes of request line and headers."""
REQUEST_S = 5.0
"""For the whole request."""
ANSWER_S = 30.0
"""For the whole answer, at whatever pace it is read."""
CHUNK = 64 * 1024
"""Characters of a long body that are made and sent at a time: no answer is ever whole in memory."""
MOST_WAITING = 48
"""Connections that wait for their peer at a time. The one that waited longest goes when there are more, so
that those who say nothing keep nobody out. Fewer than are accepted (`accept.LIMIT`)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. A body is not read: nothing here takes one."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""
    """The header."""
    version: str = "HTTP/1.1"


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes | Iterator[str] = b""
    """An iterator makes a long body piece by piece, beside the traffic, as fast as it is read."""
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[Request], Awaitable[Response]]


class BadRequest(ValueError):
    """What came is no HTTP request."""


def parse(head: bytes) -> Request:
    """Read a request's head, up to and with its empty line.

    Raises:
        BadRequest: No HTTP/1 request line, or a target that is no path.
    """
    first, _, rest = head.partition(b"\r\n")
    try:
        method, target, version = first.decode("ascii").split(" ")
    except (UnicodeDecodeError, ValueError) as exc:
        raise BadRequest("no request line") from exc
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not target.startswith("/") or not method.isalpha():
        raise BadRequest("no request line")
    path, _, query = target.partition("?")
    try:
        parsed = parse_qs(query, keep_blank_values=True, max_num_fields=8)
    except ValueError as exc:
        raise BadRequest("too many fields") from exc
    values = {name: values[-1] for name, values in parsed.items()}
    return Request(method, path, values, _header(rest, "accept"), version)


def _header(lines: bytes, wanted: str) -> str:
    """A header's values, joined as RFC 9110 section 5.3 says; empty without one."""
    fields = (line.decode("latin-1").partition(":") for line in lines.split(b"\r\n"))
    return ", ".join(value.strip() for name, _, value in fields if name.lower() == wanted)


class Server:
    """One port: answers one request per connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._asking: dict[asyncio.Timeout, None] = {}
        """Those whose request has not come, the oldest first."""
        self._reading: dict[asyncio.Timeout, None] = {}
        """Those whose answer is on its way."""

    async def serve(self, connection: socket.socket) -> None:
        """Answer one request and close. Silence and drips end at the time limit.

        Raises:
            TimeoutError: They did.
        """
        head = bytearray()
        async with self._waiting(self._asking, REQUEST_S):
            while b"\r\n\r\n" not in head and len(head) <= MAX_HEAD:
                chunk = await asyncio.get_running_loop().sock_recv(connection, MAX_HEAD)
                if not chunk:
                    return
                head += chunk
        response, version = await self._answer(head)
        async with self._waiting(self._reading, ANSWER_S):
            await _send(connection, response, version)
        connection.shutdown(socket.SHUT_WR)

    async def _answer(self, head: bytearray) -> tuple[Response, str]:
        try:
            if b"\r\n\r\n" not in head[: MAX_HEAD + 4]:
                raise BadRequest("head too large")
            request = parse(bytes(head))
        except BadRequest as exc:
            return Response(HTTPStatus.BAD_REQUEST, f"{exc}\n".encode()), "HTTP/1.1"
        return await self._handler(request), request.version

    @asynccontextmanager
    async def _waiting(self, which: dict[asyncio.Timeout, None], limit_s: float) -> AsyncIterator[None]:
        """Wait for the peer in the block, for as long as there is time and room."""
        if len(self._asking) + len(self._reading) >= MOST_WAITING:
            # Those that are silent go before those that have asked.
            crowd = self._asking or self._reading
            oldest = next(iter(crowd))
            del crowd[oldest]
            oldest.reschedule(asyncio.get_running_loop().time())
        async with asyncio.timeout(limit_s) as limit:
            which[limit] = None
            try:
                yield
            finally:
                which.pop(limit, None)


async def _send(connection: socket.socket, response: Response, version: str) -> None:
    loop, body = asyncio.get_running_loop(), response.body
    if isinstance(body, bytes):
        await loop.sock_sendall(connection, _head(response, f"content-length: {len(body)}") + body)
        return
    chunked = version == "HTTP/1.1"  # to the older one an end of the connection is the end of the body
    await loop.sock_sendall(connection, _head(response, "transfer-encoding: chunked" if chunked else ""))
    while chunk := await beside(partial(_gathered, body)):
        await loop.sock_sendall(connection, b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
    if chunked:
        await loop.sock_sendall(connection, b"0\r\n\r\n")


def _gathered(pieces: Iterator[str]) -> bytes:
    """As many of them as are worth a write; nothing when all are gone."""
    gathered, length = [], 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        if length >= CHUNK:
            break
    return "".join(gathered).encode()


def _head(response: Response, length: str) -> bytes:
    lines = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"content-type: {response.content_type}",
        length,
        "connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*filter(None, lines), "")).encode()
