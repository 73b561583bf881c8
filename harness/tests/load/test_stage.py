"""A stage without Locust: users that do not get ready, blocks, and what a drained lane is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from time import monotonic_ns
from typing import Any

import gevent
import pytest

from harness.control import Refused
from harness.load.stage import LaneLoad, Recorder, Stage
from harness.load.wire import Target
from harness.tests.load.running import lane

TARGET = Target(address="127.0.0.1", port=9, pod="", node="")


class Quick(Stage[LaneLoad]):
    """Waits hardly at all."""

    fields = ("start_ns",)
    load = LaneLoad
    ready_s = 0.05
    grace_s = 0.05


@contextmanager
def stage(lanes: int, users: int, **more: Any) -> Iterator[Quick]:
    asked = {"seed": "1", "lanes": [lane(TARGET, number) for number in range(lanes)], **more}
    with closing(Quick(asked, Recorder(), users=users, seconds=0.02, rows=1)) as made:
        yield made


def test_users_that_do_not_get_ready_are_told_by_how_far_they_got() -> None:
    """One of three is ready, one got stuck as it connected, one was never started."""

    def start_users() -> None:
        for _ in range(2):
            late.join()
            late.lanes[0].socket().close()
        late.lanes[0].verification.errors["ECONNRESET"] += 1
        late.ready()

    with stage(1, 3) as late, pytest.raises(Refused) as refused:
        late.gather(start_users)

    assert refused.value.kind == "not-ready"
    assert str(refused.value) == (
        "1 of 3 users got ready within 0.05 s: 2 had started, 2 had begun to connect; errors: 1 ECONNRESET"
    )


def test_users_are_dealt_out_to_lanes_one_by_one() -> None:
    with stage(2, 2) as asked:
        dealt = [(load.number, user) for load, user in (asked.join() for _ in range(4))]

    assert dealt == [(0, 0), (1, 0), (0, 1), (1, 1)]


def worked(asked: Quick, work: Any) -> list[tuple[int, int]]:
    """(lane, block of that lane) in the order in which blocks were worked on, of users that do `work`."""
    seen: list[tuple[int, int]] = []

    def user() -> None:
        load, number = asked.join()
        asked.ready()
        try:
            for block, _ in enumerate(load.blocks(number)):
                seen.append((load.number, block))
                work(load, block)
        finally:
            load.leave(number)

    def start_users() -> None:
        for _ in range(asked.users * len(asked.lanes)):
            gevent.spawn(user)

    asked.gather(start_users)
    for numbers in asked.turns():
        asked.turn(numbers)
    asked.finish()
    return seen


def test_a_lane_s_users_work_in_its_own_blocks_alone() -> None:
    with stage(2, 3, block_ms=5) as asked:
        seen = worked(asked, lambda *_: gevent.sleep(0.001))

    assert [turn.lane for turn in asked.taken] == [number for number, _ in seen[::3]]
    assert len(asked.taken) == 2 * asked.cycles
    assert {seen.count(entry) for entry in seen} == {3}
    assert all(turn.drained for turn in asked.taken)


def test_turns_follow_one_another_and_never_overlap() -> None:
    with stage(3, 1, block_ms=5) as asked:
        worked(asked, lambda load, _: gevent.sleep(max(0, load.ended_ns - monotonic_ns()) / 1e9))

    assert all(before.end_ns <= after.start_ns for before, after in pairwise(asked.taken))


def test_a_user_that_does_not_end_is_stopped_and_the_block_was_not_drained() -> None:
    with stage(2, 1, block_ms=5) as asked:
        seen = worked(asked, lambda load, block: gevent.sleep(60 if (load.number, block) == (1, 1) else 0))

    stuck = [turn for turn in asked.taken if not turn.drained]
    assert [turn.lane for turn in stuck] == [1]
    assert len([entry for entry in seen if entry[0] == 1]) == 2
    assert len([entry for entry in seen if entry[0] == 0]) == asked.cycles
