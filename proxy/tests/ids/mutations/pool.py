"""The pool and the way to a far proxy's answer: P11 to P56."""

from __future__ import annotations

from functools import partial
from typing import Any

from h2.errors import ErrorCodes

from proxy.listeners import outbound, patience
from proxy.listeners.patience import while_app_waits
from proxy.pool import decision, entry, pool
from proxy.pool.entry import Entry
from proxy.pool.life import TRANSITIONS, Event, Life, State
from proxy.tests.ids.mutations.mutation import Mutation, silence, wrap
from proxy.tunnel.stream import TunnelStream

ENDLESS = 2**31 - 1


def _set(module: Any, name: str, value: Any) -> None:
    """Another value for a constant or a function of a module.

    Raises:
        AttributeError: There is no such name: the mutation has to follow the code.
    """
    getattr(module, name)
    setattr(module, name, value)


def _idle_once_is_idle() -> None:
    def apply(original: Any, self: Life, *given: Any) -> Any:
        since = self.idle_since
        state = original(self, *given)
        self.idle_since = since or self.idle_since
        return state

    wrap(Life, "apply", apply)


def _peers_limit_is_not_learned() -> None:
    def changed(original: Any, self: Entry[Any], *given: Any) -> Any:
        failing = original(self, *given)
        self.peer_streams = None
        return failing

    wrap(Entry, "changed", changed)


def _unanswered_is_no_reason() -> None:
    def unanswered(_original: Any, self: TunnelStream) -> None:
        self.reset(ErrorCodes.CANCEL)
        self.on_lost(ErrorCodes.CANCEL, "no answer")

    wrap(TunnelStream, "_unanswered", unanswered)


def _one_attempt() -> None:
    async def connected(_original: Any, self: Any, *given: Any) -> Any:
        return await self._answered(*given)

    wrap(outbound.Outbound, "_connected", connected)


def _nobody_is_stalled() -> None:
    _set(entry, "View", lambda live, room, _stalled: decision.View(live, room))


def _drained_comes_back() -> None:
    TRANSITIONS[State.DRAINING][Event.TAKEN] = State.READY


MUTATIONS = [
    Mutation(id="P11", guard="a tunnel lost once", apply=partial(_set, entry, "LOSSES", 1)),
    Mutation(id="P11", guard="a tunnel lost again and again", apply=partial(_set, entry, "LOSSES", ENDLESS)),
    Mutation(id="P11", guard="a second attempt", apply=_one_attempt),
    Mutation(id="P16", guard="a use ends idleness", apply=_idle_once_is_idle),
    Mutation(id="P23", guard="the peer's limit, for those who wait", apply=_peers_limit_is_not_learned),
    Mutation(id="P23", guard="openers at a time", apply=partial(_set, decision, "OPENERS", ENDLESS)),
    Mutation(id="P24", guard="an unanswered CONNECT", apply=_unanswered_is_no_reason),
    Mutation(id="P24", guard="a second attempt", apply=_one_attempt),
    Mutation(id="P31", guard="an error for each", apply=partial(_set, pool, "_another", lambda error: error)),
    Mutation(id="P41", guard="a second attempt", apply=_one_attempt),
    Mutation(id="P41", guard="apps are looked at", apply=partial(silence, while_app_waits, "_left")),
    Mutation(
        id="P41",
        guard="half a close is no end",
        apply=partial(_set, patience, "closed_by_its_process", lambda *_: True),
    ),
    Mutation(id="P44", guard="stalled tunnels are passed over", apply=_nobody_is_stalled),
    Mutation(id="P44", guard="detours are few", apply=partial(_set, decision, "DETOURS", ENDLESS)),
    Mutation(id="P56", guard="a drained tunnel", apply=_drained_comes_back),
]
