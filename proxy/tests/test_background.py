"""Work beside the traffic rests; the same work anywhere else does not."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from proxy.background import WORK_S, beside, beside_traffic, breathe


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that rested, each time."""
    found: list[int] = []
    monkeypatch.setattr("proxy.background.time.sleep", lambda _: found.append(threading.get_ident()))
    return found


def work() -> int:
    """Some, with a breath between any two pieces; by whom."""
    until = time.monotonic() + 5 * WORK_S
    while time.monotonic() < until:
        breathe()
    return threading.get_ident()


def test_only_the_thread_beside_the_traffic_rests(rests: list[int]) -> None:
    def beside() -> int:
        with beside_traffic():
            return work()

    async def test() -> int:
        other = await asyncio.to_thread(beside)
        work()
        return other

    other = asyncio.run(test())

    assert set(rests) == {other}
    assert len(rests) >= 2


def test_it_rests_no_more_behind_the_block(rests: list[int]) -> None:
    with beside_traffic():
        pass
    work()

    assert rests == []


def test_work_that_is_handed_over_is_done_by_one_thread_that_rests(rests: list[int]) -> None:
    """P09: several at once take turns."""

    async def test() -> list[int]:
        async with asyncio.TaskGroup() as tasks:
            several = [tasks.create_task(beside(work)) for _ in range(3)]
        return [each.result() for each in several]

    done_by = set(asyncio.run(test()))

    assert len(done_by) == 1
    assert done_by == set(rests)
    assert threading.get_ident() not in done_by
