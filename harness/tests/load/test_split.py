"""One reply for all lanes, dealt out: every row once, nothing shared that is one lane's."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.control import Reply
from harness.load.split import asked, split

FIELDS = ("lane", "start_ns", "end_ns", "bytes")


def reply(rows: list[tuple[int, int, int, int]], turns: str | Sequence[Any], **told: Any) -> Reply:
    lanes = {str(number): {"rows": sum(row[0] == number for row in rows)} for number in (0, 1, 2)}
    packed = array("q", [value for row in rows for value in row])
    document = {"lanes": lanes, "fields": FIELDS, "turns": turns, "lag_p99_ns": 7, **told}
    return Reply(document=document, payload=packed.tobytes())


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(10, 19), st.integers(0, 99))))
def test_every_row_is_in_its_lane_s_part_once_and_in_order(rows: list[tuple[int, int, int, int]]) -> None:
    parts = split(reply(rows, "rows"))

    for number in (0, 1, 2):
        own = array("q", parts[number].payload)
        assert list(own) == [value for row in rows if row[0] == number for value in row[1:]]
        lasted = sum(row[2] - row[1] for row in rows if row[0] == number)
        assert parts[number].document["elapsed_ns"] == lasted


def test_turns_are_those_of_the_lane_and_make_its_time() -> None:
    parts = split(reply([], [(0, 10, 20, True), (1, 21, 30, True), (1, 31, 45, False), (0, 46, 50, True)]))

    assert parts[0].document["turns"] == [[10, 20, True], [46, 50, True]]
    assert parts[1].document["turns"] == [[21, 30, True], [31, 45, False]]
    assert [parts[number].document["elapsed_ns"] for number in (0, 1, 2)] == [14, 23, 0]
    assert (parts[0].document["started_ns"], parts[0].document["ended_ns"]) == (10, 50)


def test_turns_of_two_lanes_at_once_are_seen_by_both() -> None:
    parts = split(reply([], [(0, 10, 20, True), (1, 15, 30, True), (2, 30, 40, True)]))

    assert [5, 5, 0] == [parts[number].document["among"]["overlap_ns"] for number in (0, 1, 2)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(31, 60)), max_size=12))
def test_overlap_is_counted_as_by_hand(turns: list[tuple[int, int, int]]) -> None:
    parts = split(reply([], [(*turn, True) for turn in turns]))

    for number in (0, 1, 2):
        by_hand = sum(
            max(0, min(end, other_end) - max(start, other_start))
            for lane, start, end in turns
            for other, other_start, other_end in turns
            if lane == number != other
        )
        assert by_hand == parts[number].document["among"]["overlap_ns"]


def test_places_in_cycles_are_counted() -> None:
    cycles = [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    numbers = [number for cycle in cycles for number in cycle]
    turns = [(number, 10 * at, 10 * at + 9, True) for at, number in enumerate(numbers)]

    parts = split(reply([], turns[::-1]))

    assert [[1, 2, 0], [1, 1, 1], [1, 0, 2]] == [
        parts[number].document["among"]["places"] for number in (0, 1, 2)
    ]


def test_lanes_with_unequal_turns_have_no_cycles() -> None:
    parts = split(reply([], [(0, 0, 9, True), (1, 10, 19, True), (1, 20, 29, True)]))

    assert all(part.document["among"]["places"] == [] for part in parts.values())


def test_a_time_that_was_not_reached_makes_no_turn() -> None:
    parts = split(reply([(0, 10, 0, 0), (0, 20, 25, 0)], "rows"))

    assert (parts[0].document["elapsed_ns"], parts[0].document["started_ns"]) == (5, 20)


def test_what_holds_for_the_process_is_told_of_each_lane() -> None:
    parts = split(reply([], [], workers={"asked": 2, "reported": 2}))

    assert {part.document["lag_p99_ns"] for part in parts.values()} == {7}
    assert all(part.document["workers"] == {"asked": 2, "reported": 2} for part in parts.values())


@pytest.mark.parametrize("number", [0, 1])
def test_what_was_asked_of_a_lane_is_its_own_entry_and_what_is_common(number: int) -> None:
    lanes = [{"lane": 0, "source": "a"}, {"lane": 1, "source": "b"}]

    told = asked({"bout": "b", "seconds": 1, "lanes": lanes}, number)

    assert told == {"bout": "b", "seconds": 1, "lane": number, "source": "ab"[number]}
