"""Raw frames against one side of a connection, and what it answers."""

from __future__ import annotations

from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.connection import Connection, Side
from proxy.hbone.events import Header
from proxy.hbone.frames import FrameType
from proxy.hbone.limits import Limits
from proxy.tests.hbone.pair import HEADERS


def raw_server(limits: Limits | None = None) -> Connection:
    """A server whose client speaks raw frames: preface and SETTINGS are exchanged."""
    server = Connection(Side.SERVER, limits)
    server.start()
    server.receive(frames.PREFACE + frames.settings([]), 0.0)
    server.output()
    return server


def raw_client(limits: Limits | None = None) -> Connection:
    """A client whose server speaks raw frames: SETTINGS are exchanged, stream 1 is asked for."""
    client = Connection(Side.CLIENT, limits)
    client.start()
    client.connect(HEADERS)
    client.receive(frames.settings([]), 0.0)
    client.output()
    return client


def head(
    stream_id: int,
    fields: list[Header] = HEADERS,
    *,
    end_stream: bool = False,
    encoder: Encoder | None = None,
) -> bytes:
    """A header block in one frame; without `encoder`, one that leaves no trace in HPACK's table."""
    flags = frames.END_HEADERS | (frames.END_STREAM if end_stream else 0)
    return frames.frame(FrameType.HEADERS, flags, stream_id, (encoder or Encoder()).encode(fields))


def open_block(fragment: bytes) -> bytes:
    """HEADERS on stream 1 without END_HEADERS."""
    return frames.frame(FrameType.HEADERS, 0, 1, fragment)


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.frame(FrameType.DATA, flags, stream_id, payload)


def kinds(output: bytes) -> list[tuple[int, int, int, bytes]]:
    """(type, flags, stream, payload) of every frame."""
    found, position = [], 0
    while position < len(output):
        length, kind, flags, stream_id = frames.parse_head(output, position)
        found.append((kind, flags, stream_id, output[position + 9 : position + 9 + length]))
        position += 9 + length
    return found


def resets(output: bytes) -> list[tuple[int, int]]:
    return [(s, frames.parse_long(p)) for kind, _, s, p in kinds(output) if kind == FrameType.RST_STREAM]


def goaways(output: bytes) -> list[tuple[int, int]]:
    return [
        (frames.parse_long(p), frames.parse_long(p, 4))
        for kind, _, _, p in kinds(output)
        if kind == FrameType.GOAWAY
    ]
