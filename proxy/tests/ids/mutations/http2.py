"""Floods and limits of one connection: T01 to T25."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from hpack import Encoder

from proxy.admission import Admission
from proxy.hbone import frames
from proxy.hbone.heads import Heads
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Bucket, Limits, Rate
from proxy.hbone.receiver import Receiver
from proxy.hbone.splitter import Splitter
from proxy.hbone.streams import Side, Streams
from proxy.tests.ids.mutations.mutation import Mutation, silence, wrap
from proxy.tunnel import channel
from proxy.tunnel.channel import Channel
from proxy.tunnel.deadlines import Deadlines
from proxy.tunnel.stream import TunnelStream

LIMITS = {
    "stream_window": "F12",
    "connection_window": "F12",
    "max_frame": "http2/4.2",
    "max_streams": "T14",
    "header_list": "T03",
    "header_fields": "T04",
    "continuations": "T03",
    "settings_entries": "T07",
    "resets": "T01",
    "pings": "T06",
    "settings": "T07",
    "priorities": "T10",
    "informational": "T24",
    "empty_frames": "T08",
    "padding": "T08",
    "window_updates_base": "T11",
}
"""All that a connection is allowed, and whose tests notice when it is allowed everything."""
ENDLESS = 2**31 - 1
NO_RATE = Rate(burst=ENDLESS, per_s=0)
ENCODERS: WeakKeyDictionary[Heads, Encoder] = WeakKeyDictionary()


def _lift(limit: str) -> None:
    """A limit that no connection has, whatever it was made with."""
    lifted = NO_RATE if isinstance(getattr(SERVER_LIMITS, limit), Rate) else ENDLESS

    def init(original: Any, self: Limits, **given: Any) -> None:
        original(self, **given)
        object.__setattr__(self, limit, lifted)

    wrap(Limits, "__init__", init)
    for limits in (SERVER_LIMITS, CLIENT_LIMITS):
        object.__setattr__(limits, limit, lifted)


def _servers_are_trusted() -> None:
    """As if only clients flooded."""
    calm: dict[str, Any] = {
        limit: NO_RATE if isinstance(getattr(SERVER_LIMITS, limit), Rate) else ENDLESS
        for limit in LIMITS
        if not limit.endswith("_window")
    }

    def init(original: Any, self: Receiver, streams: Streams) -> None:
        if streams.side is Side.CLIENT:
            streams.limits = replace(streams.limits, **calm)
        original(self, streams)

    wrap(Receiver, "__init__", init)


def _any_amount_may_wait() -> None:
    channel.CONGESTED_BYTES = ENDLESS


def _free(name: str) -> None:
    """A way to reset a stream that costs the peer nothing."""

    def reset(original: Any, self: Receiver, *args: Any, **kwargs: Any) -> None:
        budget, self._resets = self._resets, Bucket("resets", self._limits.resets)
        original(self, *args, **kwargs)
        self._resets = budget

    wrap(Receiver, name, reset)


def _withdrawn_are_told() -> None:
    def feed(original: Any, self: Receiver, *args: Any) -> Any:
        original(self, *args)
        return self._events

    wrap(Receiver, "feed", feed)


def _header_bytes() -> None:
    wrap(Splitter, "_bounded", lambda _original, _self, block: bytes(block))


def _header_list() -> None:
    def init(original: Any, self: Heads, **given: Any) -> None:
        original(self, **given)
        self._header_list = ENDLESS

    wrap(Heads, "__init__", init)


def _encoder_with_a_table() -> None:
    def encode(_original: Any, self: Heads, head: Any) -> bytes:
        encoder = ENCODERS.setdefault(self, Encoder())
        encoder.header_table_size = 4096
        return encoder.encode(head)

    wrap(Heads, "encode", encode)


def _windows() -> None:
    def add(original: Any, self: Streams, stream_id: int) -> Any:
        stream = original(self, stream_id)
        stream.send.available = self.send.available = ENDLESS
        return stream

    wrap(Streams, "add", add)


def _handshake_takes_any_time() -> None:
    wrap(Channel, "handshake", lambda original, self, _timeout_s: original(self, 3600))


def _frames_are_kept_apart() -> None:
    kept: list[bytearray] = []
    wrap(TunnelStream, "on_early", lambda _original, _self, payload: kept.append(bytearray(payload)))


def _early_data_goes_on() -> None:
    """What came before the 200 is lost on the way instead of held."""
    silence(TunnelStream, "on_early")


def _nothing_is_given_back() -> None:
    def forget(_original: Any, self: Streams, stream: Any) -> None:
        stream.lost = True
        self.live.pop(stream.stream_id, None)

    wrap(Streams, "forget", forget)


def _any_preface() -> None:
    wrap(Receiver, "_feed_preface", lambda _original, _self, view: view[len(frames.PREFACE) :])


MUTATIONS = [
    *(Mutation(id=each, guard=limit, apply=partial(_lift, limit)) for limit, each in LIMITS.items()),
    Mutation(id="T01", guard="requests taken back in the same read", apply=_withdrawn_are_told),
    Mutation(id="T02", guard="resets that we send count", apply=partial(_free, "_blame")),
    Mutation(id="T03", guard="bytes of a header block", apply=_header_bytes),
    Mutation(id="T04", guard="bytes of a header list", apply=_header_list),
    Mutation(id="T05", guard="the encoder's table", apply=_encoder_with_a_table),
    Mutation(id="T09", guard="tiny frames are joined", apply=_frames_are_kept_apart),
    Mutation(id="T12", guard="the peer's windows", apply=_windows),
    Mutation(id="T12", guard="ciphertext that waits to be sent", apply=_any_amount_may_wait),
    Mutation(id="T13", guard="malformed requests count", apply=partial(_free, "_turn_away")),
    Mutation(id="T15", guard="the handshake's deadline", apply=_handshake_takes_any_time),
    Mutation(id="T15", guard="deadlines after it", apply=partial(silence, Deadlines, "overdue")),
    Mutation(id="T16", guard="connections at once", apply=partial(silence, Admission, "take")),
    Mutation(id="T18", guard="early data is held", apply=_early_data_goes_on),
    Mutation(id="T22", guard="discarded bytes are credited", apply=_nothing_is_given_back),
    Mutation(id="T24", guard="limits of a server", apply=_servers_are_trusted),
    Mutation(id="T25", guard="the preface", apply=_any_preface),
    Mutation(id="T25", guard="SETTINGS first", apply=partial(silence, Receiver, "_expect_settings_first")),
]
