"""A pooled tunnel's states, transition by transition."""

from __future__ import annotations

import pytest

from proxy.pool.life import TRANSITIONS, Event, ImpossibleEvent, Life, State, event
from proxy.tests.pool.bench import CONTEXT, FakeTunnel

PATHS = [
    ([], State.OPENING),
    ([Event.GREETED], State.OPENING),
    ([Event.TAKEN], State.READY),
    ([Event.GREETED, Event.EMPTY], State.IDLE),
    ([Event.TAKEN, Event.EMPTY], State.IDLE),
    ([Event.TAKEN, Event.EMPTY, Event.TAKEN], State.READY),
    ([Event.CLOSING], State.DRAINING),
    ([Event.TAKEN, Event.CLOSING], State.DRAINING),
    ([Event.EMPTY, Event.CLOSING], State.DRAINING),
    ([Event.TAKEN, Event.CLOSING, Event.OVER], State.GONE),
    ([Event.OVER], State.GONE),
    ([Event.EMPTY, Event.OVER, Event.OVER], State.GONE),
]


@pytest.mark.parametrize(("events", "state"), PATHS)
def test_a_tunnel_lives_by_the_table(events: list[Event], state: State) -> None:
    """P56."""
    life = Life(CONTEXT)
    for each in events:
        life.apply(each, 0.0)

    assert life.state is state


def test_the_table_has_every_state_and_ends() -> None:
    """P56: each state is reached by a path above, ends in GONE at once, and nothing leads out of that."""
    assert {state for _, state in PATHS} == set(State) == set(TRANSITIONS)
    assert all(row[Event.OVER] is State.GONE for row in TRANSITIONS.values())
    assert set(TRANSITIONS[State.GONE].values()) == {State.GONE}


@pytest.mark.parametrize(
    ("state", "impossible"),
    [
        (State.READY, Event.GREETED),
        (State.IDLE, Event.GREETED),
        (State.DRAINING, Event.GREETED),
        (State.DRAINING, Event.TAKEN),
        (State.DRAINING, Event.EMPTY),
        (State.GONE, Event.GREETED),
        (State.GONE, Event.TAKEN),
        (State.GONE, Event.EMPTY),
        (State.GONE, Event.CLOSING),
    ],
)
def test_what_the_table_does_not_know_is_an_error(state: State, impossible: Event) -> None:
    """P56: streams on a tunnel that drains, SETTINGS awaited once more."""
    life = Life(CONTEXT)
    life.state = state
    with pytest.raises(ImpossibleEvent, match=f"is {state} and cannot be {impossible}"):
        life.apply(impossible, 0.0)

    assert life.state is state


def test_idle_since_is_the_end_of_the_last_stream() -> None:
    """P16."""
    life = Life(CONTEXT)
    since = []
    for now, each in enumerate(
        (Event.TAKEN, Event.EMPTY, Event.EMPTY, Event.TAKEN, Event.EMPTY, Event.CLOSING)
    ):
        life.apply(each, float(now))
        since.append(life.idle_since)

    assert since == [None, 1.0, 1.0, None, 4.0, None]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ready": False}, Event.GREETED),
        ({"ready": False, "live": 0}, Event.GREETED),
        ({}, Event.TAKEN),
        ({"live": 0}, Event.EMPTY),
        ({"draining": True}, Event.CLOSING),
        ({"retired": True, "live": 0}, Event.CLOSING),
        ({"ready": False, "retired": True}, Event.CLOSING),
        ({"over": True}, Event.OVER),
        ({"over": True, "retired": True, "live": 0}, Event.OVER),
    ],
)
def test_events_are_read_from_the_tunnel(changes: dict[str, object], expected: Event) -> None:
    tunnel = FakeTunnel()
    for name, value in changes.items():
        setattr(tunnel, name, value)

    assert event(tunnel) is expected
