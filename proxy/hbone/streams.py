"""The streams of a connection, its windows and its output: what both of its halves work on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.heads import Heads
from proxy.hbone.life import Event, Life
from proxy.hbone.limits import Limits
from proxy.hbone.settings import PeerSettings
from proxy.hbone.windows import ReceiveWindow, Reserve, SendWindow

TOLERATED = 1024
"""Streams reset by us that we remember: what the peer sent before it heard of that is no fault of its own.

It hears within a round trip. A client has no more than its streams' limit (200) under way, for it counts a
stream until then; ours resets less than that a round trip, as no core opens so many.
"""


class Side(Enum):
    """Which end of the connection this is."""

    CLIENT = auto()
    SERVER = auto()


@dataclass(slots=True, eq=False)
class Stream:
    """What is known of a stream."""

    stream_id: int
    receive: ReceiveWindow
    send: SendWindow
    answered: bool = False
    local_ended: bool = False
    remote_ended: bool = False
    asked_at: float = 0.0
    """Server: when the request came, on `Connection.receive`'s clock."""
    lost: bool = False
    """Reset, by either side: whatever it held is given back."""

    @property
    def closed(self) -> bool:
        """Whether it is over in both directions."""
        return self.lost or (self.local_ended and self.remote_ended)


class Streams:
    """Live streams by id, and the connection's state that concerns them all."""

    def __init__(self, side: Side, limits: Limits, reserve: Reserve) -> None:
        self.side = side
        self.limits = limits
        self.reserve = reserve
        self.heads = Heads(client=side is Side.CLIENT, header_list=limits.header_list)
        self.peer = PeerSettings()
        self.out = bytearray()
        """Frames to be sent, in order."""
        self.live: dict[int, Stream] = {}
        """Streams that are not over in both directions."""
        self.tolerated: dict[int, None] = {}
        """The last streams that we reset, oldest first."""
        self.highest = 0
        """Highest stream id used by the client, whichever side we are."""
        self.opened = 0
        self.data_sent = 0
        """DATA frames sent, and 16 KiB of them counted as one more each."""
        self.receive = ReceiveWindow(limits.connection_window)
        self.send = SendWindow(frames.DEFAULT_WINDOW)
        self.life = Life()
        self.acknowledged = False
        self.accept_up_to = frames.MAX_STREAM_ID
        """Highest stream that we still take."""

    def add(self, stream_id: int) -> Stream:
        """A stream was opened by either side."""
        window = ReceiveWindow(self.limits.stream_window)
        stream = self.live[stream_id] = Stream(stream_id, window, SendWindow(self.peer.initial_window))
        self.highest = max(self.highest, stream_id)
        self.opened += 1
        return stream

    def end_if_closed(self, stream: Stream) -> None:
        """Both directions may have ended. What it holds counts against the connection until credited."""
        if stream.closed:
            del self.live[stream.stream_id]

    def reset(self, stream: Stream, code: int) -> None:
        """Reset a live stream."""
        self.out += frames.rst_stream(stream.stream_id, code)
        self.tolerate(stream.stream_id)
        self.forget(stream)

    def tolerate(self, stream_id: int) -> None:
        """We reset a stream: frames on it may be under way."""
        self.tolerated[stream_id] = None
        if len(self.tolerated) > TOLERATED:
            del self.tolerated[next(iter(self.tolerated))]

    def forget(self, stream: Stream) -> None:
        """A stream is over without an end: whatever it held is given back to the connection."""
        stream.lost = True
        self.live.pop(stream.stream_id, None)
        self.give_back(stream.receive.held)

    def give_back(self, length: int) -> None:
        """Bytes have gone, as far as the connection's window is concerned."""
        window = self.receive
        if window.advanced:
            length = self._repay(length)
        increment = window.give_back(length)
        if not increment and window.owed >= window.available:
            # Nearly shut: what flows beside slow readers lives on the little that is left.
            increment, window.owed = window.owed, 0
            window.available += increment
        if increment:
            self.out += frames.window_update(0, increment)

    def advance(self) -> None:
        """Give credit for bytes that slow readers hold, before they shut the window that all streams share.

        The reserve pays, and one connection takes no more of it than it leaves to others. Beyond it the
        window shuts as far as the readers make it. Each stream still has its own.
        """
        window = self.receive
        credit = min(window.held - window.advanced, (self.reserve.left - window.advanced) // 2)
        if credit > 0:
            self.reserve.left -= credit
            window.advanced += credit
            window.available += credit
            self.out += frames.window_update(0, credit)

    def _repay(self, length: int) -> int:
        """Bytes have gone: the reserve has back what is no longer held. How many are to be credited."""
        window = self.receive
        repaid = max(0, window.advanced - (window.held - length))
        self._return_to_reserve(repaid)
        window.held -= repaid
        return length - repaid

    def _return_to_reserve(self, length: int) -> None:
        self.receive.advanced -= length
        self.reserve.left += length

    def credit(self, stream: Stream, length: int) -> None:
        """Bytes of a stream have gone."""
        if stream.lost:
            return  # all it held was given back then
        increment = stream.receive.give_back(length)
        if increment and not stream.remote_ended:
            self.out += frames.window_update(stream.stream_id, increment)
        window = self.receive
        owed = window.owed + length
        if owed < window.step and owed < window.available and not window.advanced:
            window.held -= length  # as `give_back`, which would announce nothing
            window.owed = owed
        else:
            self.give_back(length)

    def close(self, code: int = ErrorCodes.NO_ERROR) -> None:
        """GOAWAY, and nothing after it."""
        self.life.apply(Event.CLOSED)
        self.live.clear()
        self._return_to_reserve(self.receive.advanced)
        last = self.highest if self.side is Side.SERVER else 0
        self.out += frames.goaway(last, code)
