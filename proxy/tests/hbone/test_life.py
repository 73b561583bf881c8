"""P56: the life of a tunnel is a table of transitions, in which every event has its place."""

from __future__ import annotations

import pytest

from proxy.hbone.connection import Connection, Side
from proxy.hbone.life import ENDED, ENDS_EMPTY, TRANSITIONS, Event, Life, State
from proxy.tests.hbone.pair import Pair

ORDER = list(State)


def test_every_event_has_its_place_in_every_state() -> None:
    assert {state: set(TRANSITIONS[state]) for state in State} == {state: set(Event) for state in State}


def test_a_life_never_goes_back() -> None:
    """ANNOUNCED comes behind RETIRING: a tunnel that was retired may yet drain."""
    for before, events in TRANSITIONS.items():
        for after in events.values():
            assert ORDER.index(after) >= ORDER.index(before), (before, after)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.OPEN),
        ([Event.RETIRED], State.RETIRING),
        ([Event.RETIRED, Event.BOUND], State.DRAINING),
        ([Event.ANNOUNCED], State.ANNOUNCED),
        ([Event.ANNOUNCED, Event.BOUND], State.DRAINING),
        ([Event.BOUND, Event.ANNOUNCED], State.DRAINING),
        ([Event.ANNOUNCED, Event.CLOSED], State.CLOSING),
        ([Event.CLOSED, Event.BOUND], State.CLOSING),
        ([Event.CLOSED, Event.GONE], State.OVER),
        ([Event.GONE, Event.CLOSED], State.OVER),
    ],
)
def test_lives(events: list[Event], state: State) -> None:
    life = Life()
    changed = [life.apply(event) for event in events]

    assert life.state is state
    assert life.ended is (state in ENDED)
    assert changed.count(True) == len({State.OPEN, *states(events)}) - 1


def states(events: list[Event]) -> list[State]:
    state, passed = State.OPEN, []
    for event in events:
        state = TRANSITIONS[state][event]
        passed.append(state)
    return passed


@pytest.mark.parametrize("state", State)
def test_only_an_open_connection_has_room(state: State) -> None:
    connection = Connection(Side.CLIENT)
    connection.life.state = state
    connection.life.ended = state in ENDED

    assert (connection.capacity > 0) is (state is State.OPEN)
    assert connection.finished is (state in ENDS_EMPTY)
    assert connection.closed is (state in ENDED)


def test_a_drain_goes_through_both_goaways() -> None:
    """T23: a server that drains takes what was under way, and then says which was the last."""
    pair = Pair()
    stream_id = pair.connect()
    pair.server.drain()
    assert (pair.server.life.state, pair.client.life.state) == (State.ANNOUNCED, State.OPEN)
    pair.pump()
    assert (pair.server.life.state, pair.client.life.state) == (State.DRAINING, State.DRAINING)
    assert not pair.server.finished
    pair.client.end(stream_id)
    pair.server.end(stream_id)
    pair.pump()

    assert pair.server.finished
    assert pair.client.finished
