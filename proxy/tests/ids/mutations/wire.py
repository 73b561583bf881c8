"""What keeps ordinary traffic apart from floods, and slow readers from their neighbours: P02 to P44."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from proxy.hbone import receiver
from proxy.hbone.receiver import Receiver
from proxy.hbone.settings import PeerSettings
from proxy.hbone.splitter import EVERY
from proxy.hbone.streams import Streams
from proxy.hbone.windows import Reserve
from proxy.net.resets import ResetWatch
from proxy.tests.ids.mutations.mutation import Mutation, silence, wrap
from proxy.tunnel import tunnel
from proxy.tunnel.channel import Channel
from proxy.tunnel.tunnel import Tunnel


def _every_reset_counts() -> None:
    def received(original: Any, self: Receiver, *given: Any) -> None:
        self._resets.take(self._now)
        original(self, *given)

    wrap(Receiver, "_received_reset", received)


def _closing_is_over_at_once() -> None:
    def look(original: Any, self: Tunnel, before: int, _patience_s: float) -> None:
        original(self, before, 0.0)

    wrap(Tunnel, "_look_at_delivery", look)


def _set(module: ModuleType, name: str, value: object) -> None:
    """Another value for a constant of a module.

    Raises:
        AttributeError: It has none of that name.
    """
    getattr(module, name)
    setattr(module, name, value)


def _resets_end_nothing() -> None:
    """A reset before the first write is nobody's news, until somebody reads."""

    def start(original: Any, self: Channel, receiver: Any, opening: bytes) -> None:
        self._receiver = None
        original(self, None, opening)
        self._receiver = receiver

    wrap(Channel, "start", start)


def _bugs_are_the_loops() -> None:
    wrap(Tunnel, "_fenced", lambda _original, _self, work, *given: work(*given))


def _servers_may_push() -> None:
    def apply(original: Any, self: PeerSettings, payload: bytes, limits: Any, **_given: bool) -> int:
        return int(original(self, payload, limits, of_server=False))

    wrap(PeerSettings, "apply", apply)


def _slow_readers_may_hold_anything() -> None:
    def advance(original: Any, self: Streams) -> None:
        self.reserve = Reserve(left=1 << 40)
        original(self)

    wrap(Streams, "advance", advance)


def _debug_data_is_taken_as_it_is() -> None:
    receiver._debug = lambda raw: raw.decode("latin-1")


MUTATIONS = [
    Mutation(id="P05", guard="a closing tunnel waits for its bytes", apply=_closing_is_over_at_once),
    Mutation(id="P11", guard="a lost tunnel is told of as it starts", apply=_resets_end_nothing),
    Mutation(id="P15", guard="frames of a turn", apply=partial(_set, tunnel, "FRAMES_PER_TURN", EVERY)),
    Mutation(id="P15", guard="small frames are joined", apply=partial(_set, receiver, "JOINED_BYTES", 0)),
    Mutation(id="P36", guard="a fence around a tunnel", apply=_bugs_are_the_loops),
    Mutation(id="P37", guard="debug data is bounded and printable", apply=_debug_data_is_taken_as_it_is),
    Mutation(id="P40", guard="ENABLE_PUSH of a server", apply=_servers_may_push),
    Mutation(id="P44", guard="credit beyond slow readers", apply=partial(silence, Streams, "advance")),
    Mutation(id="P44", guard="memory for slow readers", apply=_slow_readers_may_hold_anything),
    Mutation(id="P38", guard="resets are watched for", apply=partial(silence, ResetWatch, "add")),
    Mutation(id="P02", guard="resets of connected streams", apply=_every_reset_counts),
]
