"""A peer that writes HTTP/2 by hand over real mutual TLS, blocking."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from time import monotonic
from types import TracebackType
from typing import Self

from hpack import Decoder, Encoder

from proxy.hbone import frames
from proxy.hbone.events import Header
from proxy.hbone.frames import FrameType
from proxy.hbone.headers import request_headers
from proxy.tests.sockets import PATIENCE_S
from proxy.tests.wire.running import AUTHORITY, Running

CONNECT = request_headers(AUTHORITY, source=(IPv4Address("10.99.0.1"), 40000))
ACK = frames.head(0, FrameType.SETTINGS, frames.ACK, 0)
OPENING = frames.PREFACE + frames.settings([]) + ACK
_PROBE = b"alive???"


def block(fields: list[Header] = CONNECT) -> bytes:
    """A header block that needs no table."""
    return Encoder().encode(fields)


def head(stream_id: int, fields: list[Header] = CONNECT, *, end_stream: bool = False) -> bytes:
    """HEADERS with a whole block."""
    flags = frames.END_HEADERS | (frames.END_STREAM if end_stream else 0)
    return frames.frame(FrameType.HEADERS, flags, stream_id, block(fields))


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    """DATA."""
    return frames.frame(FrameType.DATA, flags, stream_id, payload)


@dataclass
class Peer:
    """One connection, and all that came on it."""

    sock: ssl.SSLSocket
    resets: dict[int, int] = field(default_factory=dict)
    """Codes by stream."""
    statuses: dict[int, int] = field(default_factory=dict)
    payload: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    pongs: list[bytes] = field(default_factory=list)
    settings: list[tuple[int, int]] | None = None
    """The first SETTINGS' entries."""
    acknowledged: int = 0
    """How many of our SETTINGS."""
    goaway: int | None = None
    """The last GOAWAY's code."""
    closed: bool = False
    """TLS ended in order, or the connection was reset."""
    kinds: list[int] = field(default_factory=list)
    """Types of frames, in order."""
    _buffer: bytearray = field(default_factory=bytearray)
    _decoder: Decoder = field(default_factory=Decoder)

    @classmethod
    def connect(cls, server: Running, opening: bytes = OPENING, *, receive_buffer: int | None = None) -> Self:
        """Shake hands and say `opening`."""
        peer = cls(server.context.wrap_socket(server.connected(receive_buffer=receive_buffer)))
        peer.send(opening)
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, sent: bytes) -> None:
        """All of it; a peer that has closed meanwhile is found when reading."""
        try:
            self.sock.sendall(sent)
        except (ConnectionError, ssl.SSLError):
            return

    def read_until(self, state: Callable[[Peer], object]) -> None:
        """Read until `state` or the end.

        Raises:
            TimeoutError: Neither came.
        """
        give_up = monotonic() + PATIENCE_S
        while not state(self) and not self.closed:
            if monotonic() > give_up:
                raise TimeoutError(f"still waiting after {self}")
            try:
                part = self.sock.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError(f"still waiting after {self}") from None
            except (ConnectionError, ssl.SSLError):
                part = b""
            if not part:
                self.closed = True
            self._buffer += part
            self._take_frames()

    def alive(self) -> bool:
        """Whether it answers a PING; all that it had to say before has come by then."""
        seen = self.pongs.count(_PROBE)
        self.send(frames.ping(_PROBE, ack=False))
        self.read_until(lambda peer: peer.pongs.count(_PROBE) > seen)
        return not self.closed

    def echo(self, stream_id: int, sent: bytes) -> bool:
        """Whether the app behind a connected stream answers."""
        before = len(self.payload.get(stream_id, b""))
        self.send(data(stream_id, sent))
        self.read_until(lambda peer: len(peer.payload.get(stream_id, b"")) >= before + len(sent))
        return self.payload.get(stream_id, b"")[before:] == sent

    def _take_frames(self) -> None:
        buffer = self._buffer
        while len(buffer) >= frames.HEAD_BYTES:
            length, kind, flags, stream_id = frames.parse_head(buffer, 0)
            stop = frames.HEAD_BYTES + length
            if len(buffer) < stop:
                return
            payload = bytes(buffer[frames.HEAD_BYTES : stop])
            del buffer[:stop]
            self.kinds.append(kind)
            self._take(kind, flags, stream_id, payload)

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        match kind:
            case FrameType.SETTINGS if flags & frames.ACK:
                self.acknowledged += 1
            case FrameType.SETTINGS:
                self.settings = frames.parse_settings(payload)
            case FrameType.HEADERS:
                fields = dict(self._decoder.decode(payload, raw=True))
                self.statuses[stream_id] = int(fields[b":status"])
            case FrameType.DATA:
                self.payload[stream_id] = self.payload.get(stream_id, b"") + payload
            case FrameType.RST_STREAM:
                self.resets[stream_id] = frames.parse_long(payload)
            case FrameType.PING if flags & frames.ACK:
                self.pongs.append(payload)
            case FrameType.PING:
                self.send(frames.ping(payload, ack=True))
            case FrameType.GOAWAY:
                self.goaway = frames.parse_long(payload, 4)
        if kind in (FrameType.HEADERS, FrameType.DATA) and flags & frames.END_STREAM:
            self.ended.add(stream_id)
