"""Whatever happens to the tunnels of one key and to the connections that wait, in any order."""

from __future__ import annotations

import ssl
from functools import partial
from math import inf
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.pool.entry import LOSSES, Entry, NotOpened, Request
from proxy.pool.life import Event, Life, State
from proxy.tests.pool.bench import CONTEXT, HEADERS, FakeTunnel, key

IDLE_S = 3.0
PICK = st.integers(0, 1000)
"""Which of several; taken modulo how many there are."""


class Connection(Request):
    """A request, and how it ended."""

    __slots__ = ("opens", "state")

    def __init__(self, context: ssl.SSLContext, most: int, opened_since: float) -> None:
        super().__init__(context, most, opened_since)
        self.state = "waiting"
        self.opens: Life | None = None


class EntryMachine(RuleBasedStateMachine):
    """The shell's part is played here, synchronously; tunnels are fakes."""

    def __init__(self) -> None:
        super().__init__()
        self.entry: Entry[Connection] = Entry(key(), CONTEXT)
        self.now = 0.0
        self.connections: list[Connection] = []
        self.lives: dict[FakeTunnel, Life] = {}

    # What the shell does.

    def serve(self, connection: Connection, life: Life) -> None:
        tunnel = life.tunnel
        if tunnel is None:
            connection.state, connection.opens = "opening", life
            return
        assert isinstance(tunnel, FakeTunnel)
        assert tunnel.live < connection.most, "more streams than the connection wanted on a tunnel"
        assert life.opened_at >= connection.opened_since, "a tunnel of the age of one that was stale"
        assert life.context is self.entry.context, "a tunnel of an older certificate"
        life.apply(Event.TAKEN, self.now)
        tunnel.connect(HEADERS)  # which asserts that the peer takes it
        connection.state = "served"

    def assign(self) -> None:
        while (assignment := self.entry.next()) is not None:
            self.serve(*assignment)

    def fail(self, failing: list[Connection], why: NotOpened) -> None:
        for connection in failing:
            assert connection.state == "waiting"
            assert why is NotOpened.FAILED or connection.losses >= LOSSES
            connection.state = "failed"

    def changed(self, life: Life, tunnel: FakeTunnel) -> None:
        self.fail(self.entry.changed(life, tunnel, self.now), NotOpened.LOST)
        self.assign()

    def pick(self, number: int, state: State | None = None) -> FakeTunnel | None:
        tunnels = [tunnel for tunnel, life in self.lives.items() if state in (None, life.state)]
        return tunnels[number % len(tunnels)] if tunnels else None

    def opening(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.state == "opening"]

    # Connections.

    @rule(most=st.sampled_from([1, 2, 5]), met_a_stale_one=st.booleans())
    def connect(self, most: int, met_a_stale_one: bool) -> None:
        opened_since = self.now if met_a_stale_one else -inf
        connection = Connection(self.entry.context, most, opened_since)
        self.connections.append(connection)
        life = self.entry.place(connection)
        if life is None:
            self.entry.waiting.append(connection)
        else:
            self.serve(connection, life)

    @precondition(lambda self: self.entry.waiting)
    @rule(number=PICK)
    def leave(self, number: int) -> None:
        leaving = self.entry.waiting.pop(number % len(self.entry.waiting))
        leaving.state = "left"

    # Openers.

    @precondition(lambda self: self.opening())
    @rule(number=PICK, ready=st.booleans(), peer_max=st.sampled_from([1, 2, 100]))
    def shake_hands(self, number: int, ready: bool, peer_max: int) -> None:
        opening = self.opening()
        connection = opening[number % len(opening)]
        life = connection.opens
        assert life is not None
        tunnel = FakeTunnel(ready=ready, peer_max=peer_max)
        connection.state = "served"
        life.opened(tunnel, self.now)
        if life.context is not self.entry.context:
            tunnel.retire()
        self.lives[tunnel] = life
        tunnel.on_change = tunnel.on_closed = partial(self.changed, life, tunnel)
        self.changed(life, tunnel)

    @precondition(lambda self: self.opening())
    @rule(number=PICK, why=st.sampled_from(NotOpened))
    def open_in_vain(self, number: int, why: NotOpened) -> None:
        opening = self.opening()
        connection = opening[number % len(opening)]
        assert connection.opens is not None
        connection.state = "failed"
        self.fail(self.entry.not_opened(connection.opens, why), why)
        if why is not NotOpened.FAILED:
            self.assign()

    # Tunnels.

    @rule(number=PICK)
    def receive_settings(self, number: int) -> None:
        tunnel = self.pick(number, State.OPENING)
        if tunnel is not None:
            tunnel.become_ready()

    @rule(number=PICK)
    def end_a_stream(self, number: int) -> None:
        tunnel = self.pick(number)
        if tunnel is not None and tunnel.live:
            tunnel.stream_over()

    @rule(number=PICK, stalled=st.booleans())
    def stall(self, number: int, stalled: bool) -> None:
        """A window that opens again wakes nobody: whoever waits then has a tunnel on its way."""
        tunnel = self.pick(number)
        if tunnel is not None and (stalled or not self.entry.waiting):
            tunnel.stalled = stalled

    @rule(number=PICK, how=st.sampled_from(["goaway", "retire", "lost"]))
    def end_a_tunnel(self, number: int, how: str) -> None:
        tunnel = self.pick(number)
        if tunnel is None or tunnel.over:
            return
        match how:
            case "goaway":
                tunnel.goaway()
            case "retire":
                tunnel.retire()
            case _:
                tunnel.finish("connection reset")

    @rule()
    def renew_the_certificate(self) -> None:
        for tunnel in self.entry.outdated(cast(ssl.SSLContext, object())):
            tunnel.retire()

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for tunnel, life in self.lives.items():
            if life.idle_since is not None and self.now >= life.idle_since + IDLE_S:
                assert not tunnel.live
                tunnel.retire()

    # What must hold.

    @invariant()
    def a_tunnel_is_in_the_state_that_it_looks_like(self) -> None:
        for tunnel, life in self.lives.items():
            if tunnel.over:
                expected = State.GONE
            elif not tunnel.usable:
                expected = State.DRAINING
            elif not tunnel.ready:
                expected = State.OPENING
            else:
                expected = State.READY if tunnel.live else State.IDLE
            assert life.state is expected
            assert (life.idle_since is not None) == (life.state is State.IDLE)

    @invariant()
    def no_tunnel_is_lost_and_none_is_kept_that_takes_no_more(self) -> None:
        takes = [life for tunnel, life in self.lives.items() if tunnel.usable]
        begun = [connection.opens for connection in self.opening()]

        assert sorted(map(id, self.entry.lives)) == sorted(map(id, [*takes, *begun]))

    @invariant()
    def no_connection_is_forgotten(self) -> None:
        waiting = [connection for connection in self.connections if connection.state == "waiting"]

        assert waiting == self.entry.waiting

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Something is being opened, and the first in line has no room on a tunnel that is not stalled."""
        if not self.entry.waiting:
            return
        assert self.entry.opening
        first = self.entry.waiting[0]
        for tunnel, life in self.lives.items():
            if life.state in (State.READY, State.IDLE) and life.opened_at >= first.opened_since:
                assert tunnel.stalled or not min(first.most - tunnel.live, tunnel.capacity) > 0


def test_any_order_of_events_keeps_the_invariants() -> None:
    """P56, P16, P23: one state for each tunnel, limits kept, no tunnel lost, no connection forgotten."""
    run_state_machine_as_test(
        EntryMachine, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )
