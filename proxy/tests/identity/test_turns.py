"""P33: who is next where a few may do something at a time."""

from __future__ import annotations

import asyncio

from proxy.identity.turns import Turns, Urgency
from proxy.tests.sockets import run


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Queue:
    """One place, and those that wait for it."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.group = group
        self.turns = Turns(1)
        self.had: list[str] = []
        self.urgency: dict[str, Urgency] = {}

    def wait(self, name: str, urgency: Urgency) -> asyncio.Task[None]:
        self.urgency[name] = urgency

        async def waiting() -> None:
            async with self.turns.taken(lambda: self.urgency[name]):
                self.had.append(name)
                await asyncio.sleep(0)

        return self.group.create_task(waiting())


def test_the_most_urgent_is_next_and_of_equals_the_first() -> None:
    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            queue = Queue(group)
            for name, urgency in (
                ("begun", Urgency.RENEWAL),
                ("a", Urgency.RENEWAL),
                ("b", Urgency.NEW),
                ("c", Urgency.NEW),
                ("d", Urgency.AWAITED),
                ("e", Urgency.RENEWAL),
            ):
                queue.wait(name, urgency)
        assert queue.had == ["begun", "d", "b", "c", "a", "e"]

    run(test())


def test_what_becomes_urgent_while_it_waits_is_next() -> None:
    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            queue = Queue(group)
            for name in ("begun", "a", "b"):
                queue.wait(name, Urgency.NEW)
            await asyncio.sleep(0)
            queue.urgency["b"] = Urgency.AWAITED
        assert queue.had == ["begun", "b", "a"]

    run(test())


def test_a_place_is_not_lost_with_those_that_stop_waiting() -> None:
    """Before their turn, and in the moment in which it was given to them."""

    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            queue = Queue(group)
            async with queue.turns.taken(lambda: Urgency.NEW):
                early, late, last = (queue.wait(name, Urgency.NEW) for name in ("early", "late", "last"))
                await settle()
                early.cancel()
                await settle()
            late.cancel()
            await last
            assert queue.had == ["last"]
            async with queue.turns.taken(lambda: Urgency.NEW):
                pass

    run(test())
