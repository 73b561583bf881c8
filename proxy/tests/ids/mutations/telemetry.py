"""P04 to P42: what is told, and that telling holds nobody up."""

from __future__ import annotations

from typing import Any

from proxy.admin import addresses, http
from proxy.listeners import connection, inbound
from proxy.telemetry import traffic
from proxy.telemetry.writer import Writer
from proxy.tests.ids.mutations.mutation import Mutation, wrap


def _nothing_is_forgotten() -> None:
    """Every kind of traffic that ever was is kept."""
    wrap(traffic.Table, "_make_room", lambda _original, _self: True)


def _peers_fill_the_table() -> None:
    wrap(traffic, "without_claims", lambda _original, given: given)


def _the_live_are_forgotten() -> None:
    """A series goes while connections are counted in it."""
    traffic.Traffic.live = property(lambda _self: 0)  # type: ignore[assignment,method-assign]


def _claims_are_believed() -> None:
    """A peer's own words overrule what TLS proved."""
    wrap(traffic, "_claimed", lambda original, claims, _identity: original(claims, None))


def _any_service_that_is_named() -> None:
    def service_of(original: Any, state: Any, own: Any, port: int, *, named: str | None = None) -> Any:
        return state.service_named(named) if named else original(state, own, port)

    wrap(connection, "service_of", service_of)
    setattr(inbound, "service_of", connection.service_of)  # noqa: B010  it imports the name


def _written_at_once() -> None:
    """The loop itself makes what is long."""

    async def beside(_original: Any, work: Any) -> Any:
        return work()

    wrap(http, "beside", beside)
    http.CHUNK = 1 << 40


def _one_family() -> None:
    wrap(addresses, "usable", lambda _original, _address: False)


def _room_for_every_line() -> None:
    def put(_original: Any, self: Any, line: str) -> None:
        self._lines.append(line)
        self._there_are.set()

    wrap(Writer, "put", put)


def _written_by_whoever_logs() -> None:
    wrap(Writer, "put", lambda _original, self, line: self._put_out(line))


def _hoarders_stay() -> None:
    http.MOST_WAITING = 10**9


def _readers_go_first() -> None:
    """Whoever is answered makes room for those that say nothing."""

    def init(original: Any, self: Any, handler: Any) -> None:
        original(self, handler)
        self._asking = self._reading

    wrap(http.Server, "__init__", init)


MUTATIONS = [
    Mutation(id="P04", guard="room for series", apply=_nothing_is_forgotten),
    Mutation(id="P04", guard="live series stay", apply=_the_live_are_forgotten),
    Mutation(id="P04", guard="peers' share of the table", apply=_peers_fill_the_table),
    Mutation(id="P09", guard="text is made beside the traffic", apply=_written_at_once),
    Mutation(id="P13", guard="claims for labels alone", apply=_claims_are_believed),
    Mutation(id="P13", guard="a service of the pod's own", apply=_any_service_that_is_named),
    Mutation(id="P19", guard="both families", apply=_one_family),
    Mutation(id="P32", guard="room for lines", apply=_room_for_every_line),
    Mutation(id="P32", guard="lines are written by a thread", apply=_written_by_whoever_logs),
    Mutation(id="P42", guard="those that wait are few", apply=_hoarders_stay),
    Mutation(id="P42", guard="the silent go first", apply=_readers_go_first),
]
