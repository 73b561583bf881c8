"""Orders of turns: balanced for every number of lanes, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load.order import cycles, design, design_length, whole_designs

LANES = st.lists(st.integers(0, 99), min_size=1, max_size=9, unique=True)
SEEDS = st.text(max_size=8)


@given(LANES, SEEDS)
def test_each_cycle_holds_each_lane_once(lanes: list[int], seed: str) -> None:
    assert all(sorted(cycle) == sorted(lanes) for cycle in design(lanes, seed))


@given(LANES, SEEDS)
def test_over_a_design_each_lane_stands_in_each_place_equally_often(lanes: list[int], seed: str) -> None:
    places = Counter(chain.from_iterable(map(enumerate, design(lanes, seed))))

    assert set(places.values()) == {design_length(len(lanes)) // len(lanes)}
    assert len(places) == len(lanes) ** 2


@given(LANES, SEEDS)
def test_over_a_design_each_lane_follows_each_other_equally_often(lanes: list[int], seed: str) -> None:
    followed = Counter(pair for cycle in design(lanes, seed) for pair in pairwise(cycle))

    assert len(set(followed.values())) <= 1
    assert len(followed) == len(lanes) * (len(lanes) - 1)


@given(LANES, SEEDS, st.integers(0, 60))
def test_cycles_are_as_many_as_asked_and_those_of_their_seed(lanes: list[int], seed: str, count: int) -> None:
    drawn = list(cycles(lanes, seed, count))

    assert len(drawn) == count
    assert drawn == list(cycles(lanes, seed, count))


def test_two_lanes_go_forth_and_back() -> None:
    assert {tuple(design([0, 1], str(seed))) for seed in range(20)} == {((0, 1), (1, 0)), ((1, 0), (0, 1))}


def test_another_seed_is_another_order() -> None:
    one, other = (list(islice(cycles(range(4), seed, 40), 40)) for seed in ("a", "b"))

    assert one != other


@pytest.mark.parametrize(
    ("lanes", "least", "expected"), [(1, 3, 3), (2, 3, 4), (2, 4, 4), (3, 1, 6), (5, 11, 20), (6, 7, 12)]
)
def test_whole_designs_are_no_fewer_cycles_than_asked(lanes: int, least: int, expected: int) -> None:
    assert whole_designs(lanes, least) == expected
