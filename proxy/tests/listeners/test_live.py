"""A change of policy finds every connection, wherever it is in its life."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from ipaddress import ip_address
from time import monotonic

import pytest

from proxy.listeners.live import POLICY_CHANGE, SPREAD_S, Live, LiveConnections, Review
from proxy.listeners.verdict import Denied
from proxy.rbac import Action, Compiled, Facts, Match, Policy, PolicySet, Scope
from proxy.relay.outcome import End, Outcome
from proxy.tasks import Tasks
from proxy.telemetry import ConnectionRecord, Direction
from proxy.tests.sockets import run, until


def not_port(port: int) -> Compiled:
    policy = Policy(
        name=f"not-{port}",
        namespace="ns",
        scope=Scope.NAMESPACE,
        action=Action.DENY,
        rules=(((Match(destination_ports=(port,)),),),),
    )
    return Compiled(PolicySet({policy.key: policy}))


OPEN = Compiled()
NOT_PORT_80 = not_port(80)


def facts(port: int) -> Facts:
    return Facts(ip_address("10.0.0.1"), None, ip_address("10.0.0.2"), port)


def record() -> ConnectionRecord:
    return ConnectionRecord(direction=Direction.INBOUND, source_address=(ip_address("10.0.0.1"), 1))


class FakeRelay:
    """Runs until it is cut."""

    def __init__(self) -> None:
        self.over: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    async def run(self) -> Outcome:
        return await self.over

    def cut(self, reason: str) -> None:
        self.over.set_result(Outcome(End.CUT, reason))


async def recheck(live: LiveConnections, policies: Compiled) -> int:
    return await live.recheck(policies, lambda: False)


def test_denied_ones_are_cut_and_others_are_not() -> None:
    """T55; the record names who decided now, not who allowed it then."""

    async def test() -> None:
        live, noted = LiveConnections(), record()
        first, second = FakeRelay(), FakeRelay()
        with live.registered(facts(80), noted) as denied, live.registered(facts(81), record()) as allowed:
            async with asyncio.TaskGroup() as group:
                cut = group.create_task(denied.run(first))
                kept = group.create_task(allowed.run(second))
                await asyncio.sleep(0)
                count = await recheck(live, NOT_PORT_80)
                outcome = await cut
                assert not kept.done()
                second.cut("end of the test")

            assert count == 1
            assert noted.policy == "ns/not-80"
            assert outcome.detail == f"{POLICY_CHANGE}: explicitly denied by: ns/not-80"
        assert len(live) == 0

    run(test())


def test_one_that_is_still_being_connected_is_stopped_before_its_200() -> None:
    """T56: registered before it was judged, so that a change in between finds it."""

    async def test() -> None:
        live = LiveConnections()
        with live.registered(facts(80), record()) as connection:
            connection.check()
            await recheck(live, NOT_PORT_80)
            with pytest.raises(Denied, match=POLICY_CHANGE) as caught:
                connection.check()

        assert (caught.value.status, caught.value.decision.policy) == (401, "ns/not-80")

    run(test())


def test_one_that_is_cut_just_before_its_relay_starts_never_carries_a_byte() -> None:
    """T56."""

    async def test() -> None:
        live = LiveConnections()
        with live.registered(facts(80), record()) as connection:
            await recheck(live, NOT_PORT_80)

            assert (await connection.run(FakeRelay())).end is End.CUT

    run(test())


def test_nothing_is_cut_while_nothing_is_denied() -> None:
    async def test() -> None:
        live = LiveConnections()
        with live.registered(facts(80), record()) as connection:
            assert await recheck(live, OPEN) == 0
            connection.check()

    run(test())


class Reviewed:
    """Live connections under policies that change."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.live = LiveConnections()
        self.tasks = Tasks(group)
        self.policies: Compiled | None = OPEN
        self.review = Review(self.live, self.tasks, lambda: self.policies, name="pod")

    def connected(self, stack: ExitStack, port: int, count: int) -> list[Live]:
        """So many live connections to a port."""
        return [stack.enter_context(self.live.registered(facts(port), record())) for _ in range(count)]

    def put(self, policies: Compiled | None) -> None:
        self.policies = policies
        self.review.changed()


def test_traffic_has_its_turn_between_the_cuts_of_a_thousand() -> None:
    async def test() -> None:
        cut_per_turn: list[int] = []
        began = monotonic()
        async with asyncio.TaskGroup() as group:
            bed = Reviewed(group)
            with ExitStack() as stack:
                all_live = bed.connected(stack, 80, 1000)
                bed.put(NOT_PORT_80)
                while len(bed.tasks):
                    await asyncio.sleep(0)
                    cut_per_turn.append(sum(live._decision is not None for live in all_live))

        assert cut_per_turn[-1] == 1000
        steps = [after - before for before, after in zip([0, *cut_per_turn], cut_per_turn, strict=False)]
        assert max(steps) == 1
        assert monotonic() - began > 0.9 * SPREAD_S

    run(test())


def test_a_few_are_cut_at_once() -> None:
    """What is spread is the cost of many; nobody who is denied has more time than it takes."""

    async def test() -> float:
        async with asyncio.TaskGroup() as group:
            bed = Reviewed(group)
            with ExitStack() as stack:
                few = bed.connected(stack, 80, 10)
                began = monotonic()
                bed.put(NOT_PORT_80)
                await until(lambda: all(live._decision is not None for live in few))
                return monotonic() - began

    assert asyncio.run(test()) < SPREAD_S / 2


def test_policies_that_come_in_mid_review_are_the_ones_that_count() -> None:
    """F45: what the first denied and was not cut yet lives, what the last denies is cut."""

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            bed = Reviewed(group)
            with ExitStack() as stack:
                first = bed.connected(stack, 80, 50)
                (other,) = bed.connected(stack, 81, 1)
                bed.put(NOT_PORT_80)
                await until(lambda: first[0]._decision is not None)
                bed.put(not_port(81))
                await until(lambda: other._decision is not None and not len(bed.tasks))

                assert first[-1]._decision is None

    run(test())


def test_only_other_policies_are_a_reason_to_judge_again() -> None:
    """A thousand updates a second that change nothing for a pod cost it nothing."""

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            bed = Reviewed(group)
            with bed.live.registered(facts(80), record()):
                started = []
                for policies in (OPEN, OPEN, None, OPEN, NOT_PORT_80, NOT_PORT_80):
                    bed.put(policies)
                    started.append(len(bed.tasks))
                    await until(lambda: not len(bed.tasks))

            assert started == [1, 0, 0, 0, 1, 0]

    run(test())
