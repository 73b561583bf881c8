"""Bouts: whatever is compared stands together, on lanes enough, with a twin beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plan.bouts import bouts
from harness.plan.model import Configuration, Interception, Path, Reuse
from harness.plan.pairs import pairs
from harness.suite import load_suite

DATAPLANES = ("none", "pyztunnel", "envoy")
FULL = load_suite("full", dataplanes=DATAPLANES)
DEFAULT = FULL.default
SUITES = ("smoke", "quick", "full", "proxy", "rtt-model", "service", "ipv6")


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(FULL.configurations), unique=True, min_size=1),
    lanes=st.integers(4, 8),
    twin=st.booleans(),
)
def test_what_is_compared_shares_a_bout(chosen: list[Configuration], lanes: int, twin: bool) -> None:
    groups = bouts(chosen, DEFAULT, lanes=lanes, twin=twin)

    originals = [{each for each in group if not each.twin} for group in groups]
    assert set().union(*originals) == set(chosen)
    assert all(len(group) <= lanes for group in groups)
    assert all(len({each.place for each in group}) == 1 for group in groups)
    for pair in pairs(chosen):
        if pair.of.place == pair.against.place:
            assert any({pair.of, pair.against} <= group for group in originals), (
                pair.of.key,
                pair.against.key,
            )


@given(chosen=st.lists(st.sampled_from(FULL.configurations), unique=True, min_size=1))
@settings(max_examples=30, deadline=None)
def test_each_bout_holds_its_reference_twice(chosen: list[Configuration]) -> None:
    for group in bouts(chosen, DEFAULT, lanes=6, twin=True):
        twins = [each for each in group if each.twin]
        assert [replace(each, twin=False) for each in twins] == [group[0]]
        assert len(group) == len({each.key for each in group})


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suites_fit_their_lanes(name: str) -> None:
    suite = load_suite(name, dataplanes=DATAPLANES)
    groups = bouts(suite.configurations, suite.default, lanes=suite.lanes, twin=suite.twin)
    assert max(map(len, groups)) <= suite.lanes


def test_one_lane_has_each_alone() -> None:
    groups = bouts(FULL.configurations, DEFAULT, lanes=1, twin=False)
    assert sorted(each.key for group in groups for each in group) == sorted(
        each.key for each in FULL.configurations
    )
    assert {len(group) for group in groups} == {1}


def test_the_reference_is_what_comes_nearest_to_the_default() -> None:
    direct = Configuration(path=Path.SAME_NODE, dataplane="none", interception=Interception.NONE)
    off = replace(DEFAULT, path=Path.SAME_NODE, reuse=Reuse.OFF)
    far = replace(off, interception=Interception.TPROXY)
    assert bouts([direct, far, off], DEFAULT, lanes=4, twin=True)[0][0] == off
    assert bouts([direct], DEFAULT, lanes=4, twin=True) == ((direct, replace(direct, twin=True)),)
