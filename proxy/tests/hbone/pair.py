"""A client and a server back to back, and raw frames against either."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TypeVar

from proxy.hbone.connection import Connection, Side, Stream
from proxy.hbone.events import Data, Event, Requested
from proxy.hbone.frames import HEAD_BYTES
from proxy.hbone.headers import request_headers, response_headers
from proxy.hbone.limits import Limits
from proxy.hbone.windows import Reserve

HEADERS = request_headers("10.0.0.2:80", source=(IPv4Address("10.0.0.1"), 40000))
OK = response_headers(200)
E = TypeVar("E")


@dataclass
class Pair:
    """Both sides, and what each of them saw. Payload is copied out of events and credited at once
    unless `hold` is set."""

    client_limits: Limits | None = None
    server_limits: Limits | None = None
    portion: int = 1 << 30
    """Bytes that are delivered at a time."""
    hold: bool = False
    now: float = 0.0
    reserve: Reserve = field(default_factory=Reserve)
    client: Connection = field(init=False)
    server: Connection = field(init=False)
    seen: dict[Side, list[Event]] = field(init=False)
    received: dict[tuple[Side, int], bytearray] = field(init=False)
    streams: dict[tuple[Side, int], Stream] = field(init=False)
    """Every stream that was ever opened."""

    def __post_init__(self) -> None:
        self.client = Connection(Side.CLIENT, self.client_limits, reserve=self.reserve)
        self.server = Connection(Side.SERVER, self.server_limits, reserve=self.reserve)
        self.seen = {Side.CLIENT: [], Side.SERVER: []}
        self.received = {}
        self.streams = {}
        self.client.start()
        self.server.start()

    def pump(self) -> None:
        """Carry output both ways until there is none."""
        while self.client.has_output or self.server.has_output:
            self.deliver(self.server, self.client.output())
            self.deliver(self.client, self.server.output())

    def deliver(self, to: Connection, data: bytes) -> None:
        """Give bytes to one side, in portions."""
        for start in range(0, len(data), self.portion):
            for event in to.receive(data[start : start + self.portion], self.now):
                if isinstance(event, Data):
                    self.received.setdefault((to.side, event.stream_id), bytearray()).extend(event.payload)
                    if not self.hold:
                        to.credit(self.stream(to, event.stream_id), len(event.payload))
                else:
                    if isinstance(event, Requested):
                        self.stream(to, event.stream_id)
                    self.seen[to.side].append(event)

    def connect(self) -> int:
        """Open a stream and accept it."""
        stream_id = self.client.connect(HEADERS)
        self.stream(self.client, stream_id)
        self.pump()
        assert Requested(stream_id, HEADERS) in self.seen[Side.SERVER]
        self.server.answer(stream_id, OK)
        self.pump()
        return stream_id

    def stream(self, connection: Connection, stream_id: int) -> Stream:
        """One side's view of a stream, also when it is over."""
        key = (connection.side, stream_id)
        if key not in self.streams:
            self.streams[key] = connection.stream(stream_id)
        return self.streams[key]

    def sendable(self, connection: Connection, stream_id: int) -> int:
        """What one side may send."""
        return connection.sendable(self.stream(connection, stream_id))

    def send(self, sender: Connection, stream_id: int, payload: bytes) -> int:
        """Send as much of `payload` as the windows let; how much that was."""
        peer = self.server if sender is self.client else self.client
        sent = 0
        while sent < len(payload) and (room := self.sendable(sender, stream_id)):
            part = payload[sent : sent + room]
            self.deliver(peer, sender.output() + packed(sender, self.stream(sender, stream_id), part))
            sent += len(part)
            if not self.hold:
                self.pump()
        return sent

    def events(self, side: Side, kind: type[E]) -> list[E]:
        """What a side saw of one kind."""
        return [event for event in self.seen[side] if isinstance(event, kind)]


def packed(connection: Connection, stream: Stream, payload: bytes) -> bytes:
    """One DATA frame, made as the relay makes it."""
    buffer = bytearray(HEAD_BYTES) + payload
    connection.pack(stream, buffer, len(payload))
    return bytes(buffer)
