"""A change of policy finds every connection, wherever it is in its life."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from proxy.listeners.live import POLICY_CHANGE, LiveConnections
from proxy.listeners.verdict import Refused
from proxy.rbac import Action, Compiled, Facts, Match, Policy, Scope
from proxy.relay.outcome import End, Outcome
from proxy.tests.sockets import run

OPEN = Compiled([])
NOT_PORT_80 = Compiled(
    [
        Policy(
            name="not-80",
            namespace="ns",
            scope=Scope.NAMESPACE,
            action=Action.DENY,
            rules=(((Match(destination_ports=(80,)),),),),
        )
    ]
)


def facts(port: int) -> Facts:
    return Facts(ip_address("10.0.0.1"), None, ip_address("10.0.0.2"), port)


class FakeRelay:
    """Runs until it is cut."""

    def __init__(self) -> None:
        self.over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def run(self) -> Outcome:
        return await self.over

    def cut(self, reason: str) -> None:
        self.over.set_result(Outcome(End.CUT, reason))


def test_denied_ones_are_cut_and_others_are_not() -> None:
    async def test() -> None:
        live = LiveConnections()
        first, second = FakeRelay(), FakeRelay()
        with live.registered(facts(80)) as denied, live.registered(facts(81)) as allowed:
            async with asyncio.TaskGroup() as group:
                cut = group.create_task(denied.run(first))
                kept = group.create_task(allowed.run(second))
                await asyncio.sleep(0)
                decisions = live.recheck(NOT_PORT_80)
                outcome = await cut
                assert not kept.done()
                second.cut("end of the test")

            assert [decision.policy for decision in decisions] == ["ns/not-80"]
            assert outcome.detail == f"{POLICY_CHANGE}: explicitly denied by: ns/not-80"
        assert len(live) == 0

    run(test())


def test_one_that_is_still_being_connected_is_stopped_before_its_200() -> None:
    live = LiveConnections()
    with live.registered(facts(80)) as connection:
        connection.check()
        live.recheck(NOT_PORT_80)
        with pytest.raises(Refused, match=POLICY_CHANGE) as caught:
            connection.check()

    assert caught.value.status == 401


def test_one_that_is_cut_just_before_its_relay_starts_never_carries_a_byte() -> None:
    async def test() -> None:
        live = LiveConnections()
        with live.registered(facts(80)) as connection:
            live.recheck(NOT_PORT_80)

            assert (await connection.run(FakeRelay())).end is End.CUT

    run(test())


def test_nothing_is_cut_while_nothing_is_denied() -> None:
    live = LiveConnections()
    with live.registered(facts(80)):
        assert live.recheck(OPEN) == []
