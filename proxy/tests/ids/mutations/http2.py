"""Floods and limits of one connection: T01 to T25."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from hpack import Encoder

from proxy.admission import Admission
from proxy.hbone import frames
from proxy.hbone.heads import Heads
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Bucket, Limits
from proxy.hbone.receiver import Receiver
from proxy.hbone.splitter import Splitter
from proxy.hbone.streams import Streams
from proxy.tests.ids.mutations.mutation import Mutation, silence, wrap
from proxy.tunnel.channel import Channel
from proxy.tunnel.deadlines import Deadlines
from proxy.tunnel.stream import TunnelStream

ENDLESS = 2**31 - 1
ENCODERS: WeakKeyDictionary[Heads, Encoder] = WeakKeyDictionary()


def _bucket(kind: str) -> None:
    """A budget that is never used up."""

    def take(original: Any, self: Bucket, now: float) -> None:
        if self.kind != kind:
            original(self, now)

    wrap(Bucket, "take", take)


def _lift(limit: str) -> None:
    """A limit that no connection has, whatever it was made with."""

    def init(original: Any, self: Limits, **given: Any) -> None:
        original(self, **given)
        object.__setattr__(self, limit, ENDLESS)

    wrap(Limits, "__init__", init)
    for limits in (SERVER_LIMITS, CLIENT_LIMITS):
        object.__setattr__(limits, limit, ENDLESS)


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
    Mutation(id="T01", guard="resets per time", apply=partial(_bucket, "resets")),
    Mutation(id="T01", guard="requests taken back in the same read", apply=_withdrawn_are_told),
    Mutation(id="T02", guard="resets that we send count", apply=partial(_free, "_blame")),
    Mutation(id="T03", guard="CONTINUATION frames", apply=partial(_lift, "continuations")),
    Mutation(id="T03", guard="bytes of a header block", apply=_header_bytes),
    Mutation(id="T04", guard="bytes of a header list", apply=_header_list),
    Mutation(id="T04", guard="fields of a head", apply=partial(_lift, "header_fields")),
    Mutation(id="T05", guard="the encoder's table", apply=_encoder_with_a_table),
    Mutation(id="T06", guard="PINGs per time", apply=partial(_bucket, "PING")),
    Mutation(id="T07", guard="SETTINGS per time", apply=partial(_bucket, "SETTINGS")),
    Mutation(id="T07", guard="entries of SETTINGS", apply=partial(_lift, "settings_entries")),
    Mutation(id="T08", guard="empty frames", apply=partial(_lift, "empty_frames")),
    Mutation(id="T09", guard="tiny frames are joined", apply=_frames_are_kept_apart),
    Mutation(id="T10", guard="PRIORITY per time", apply=partial(_bucket, "PRIORITY")),
    Mutation(id="T11", guard="WINDOW_UPDATEs", apply=partial(_lift, "window_updates_base")),
    Mutation(id="T12", guard="the peer's windows", apply=_windows),
    Mutation(id="T13", guard="malformed requests count", apply=partial(_free, "_turn_away")),
    Mutation(id="T14", guard="streams at once", apply=partial(_lift, "max_streams")),
    Mutation(id="T15", guard="the handshake's deadline", apply=_handshake_takes_any_time),
    Mutation(id="T15", guard="deadlines after it", apply=partial(silence, Deadlines, "overdue")),
    Mutation(id="T16", guard="connections at once", apply=partial(silence, Admission, "take")),
    Mutation(id="T18", guard="early data is held", apply=_early_data_goes_on),
    Mutation(id="T22", guard="discarded bytes are credited", apply=_nothing_is_given_back),
    Mutation(id="T25", guard="the preface", apply=_any_preface),
]
