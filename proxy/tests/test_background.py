"""Work beside the traffic rests; the same work anywhere else does not."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from proxy.background import WORK_S, beside_traffic, breathe


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
