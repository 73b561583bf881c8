"""What a peer can do, as values. Not frozen: one of these is made for every DATA frame."""

from __future__ import annotations

from dataclasses import dataclass

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Requested:
    """Server: the peer asks for a tunnel. Answer with `Connection.answer`."""

    stream_id: int
    headers: list[Header]


@dataclass(slots=True)
class Answered:
    """Client: the peer's answer to our CONNECT."""

    stream_id: int
    status: int
    headers: list[Header]


@dataclass(slots=True)
class Data:
    """Bytes of a stream. `payload` is a window into what was passed to `receive`: use or copy it
    before the next call. Give the bytes back with `Connection.credit` once they have gone."""

    stream_id: int
    payload: memoryview | bytearray
    """A bytearray where several small frames are joined."""


@dataclass(slots=True)
class Ended:
    """The peer will send no more on this stream; the only thing that may become a FIN."""

    stream_id: int


@dataclass(slots=True)
class Reset:
    """A stream is over without an end: the peer reset it, or we did because of what it sent."""

    stream_id: int
    code: int
    reason: str


@dataclass(slots=True)
class WindowOpened:
    """A send window that was shut is open. Stream 0: the connection's; ask every stream again."""

    stream_id: int


@dataclass(slots=True)
class SettingsReceived:
    """The peer's SETTINGS are in force; the first of these proves that it accepted our certificate."""


@dataclass(slots=True)
class Draining:
    """GOAWAY: no more streams on this connection. Those that it did not process have a `Reset` each."""

    code: int
    debug: str
    """What the peer says about it: ASCII, at most `MAX_DEBUG` characters; nobody has checked it."""


@dataclass(slots=True)
class Drained:
    """Server: the peer has heard our GOAWAY, so that no request can be under way any more."""


@dataclass(slots=True)
class Pong:
    """The answer to our PING."""


Event = (
    Requested | Answered | Data | Ended | Reset | WindowOpened | SettingsReceived | Draining | Drained | Pong
)
