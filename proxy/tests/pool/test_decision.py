"""What the pool decides, as tables."""

from __future__ import annotations

import pytest

from proxy.pool.decision import DETOURS, OPENERS, Open, Use, View, Wait, decide, expired


@pytest.mark.parametrize(
    ("views", "opening", "waiting", "expected"),
    [
        ([], 0, 0, Open()),
        ([View(1, 99)], 0, 0, Use(0)),
        ([View(1, 99), View(7, 93)], 0, 0, Use(1)),
        ([View(0, 100), View(0, 100)], 0, 0, Use(0)),
        ([View(100, 0)], 0, 0, Open()),
        ([View(100, 0), View(3, 97)], 0, 0, Use(1)),
        ([View(1, 0)], 1, 0, Wait()),
        ([], 1, 0, Wait()),
        ([], 1, 98, Wait()),
        ([], 1, 99, Open()),
        ([], 2, 99, Wait()),
        ([], 2, 198, Open()),
        ([View(5, 1)], 1, 50, Use(0)),
        ([View(4, 96, stalled=True)], 0, 0, Open()),
        ([View(4, 96, stalled=True)], 1, 0, Wait()),
        ([View(4, 96, stalled=True), View(1, 99)], 0, 0, Use(1)),
        ([View(1, 99), View(4, 96, stalled=True)], 0, 0, Use(0)),
        ([View(9, 91, stalled=True), View(4, 96, stalled=True)] * (DETOURS // 2), 0, 0, Use(1)),
        ([View(9, 91, stalled=True)] * (DETOURS - 1), 0, 0, Open()),
        ([View(9, 91, stalled=True)] * (DETOURS - 1), 1, 99, Use(0)),
        ([View(100, 0, stalled=True)] * DETOURS, 0, 0, Open()),
    ],
)
def test_decision(views: list[View], opening: int, waiting: int, expected: object) -> None:
    """P44 in the rows with a stalled tunnel."""
    assert decide(views, opening=opening, waiting=waiting, per_tunnel=100) == expected


def test_one_stream_per_tunnel_never_waits_for_another_opener() -> None:
    assert decide([], opening=3, waiting=0, per_tunnel=1) == Open()


@pytest.mark.parametrize(
    ("opening", "waiting", "per_tunnel", "expected"),
    [
        (0, 38, 1, Open()),
        (OPENERS - 1, 10, 1, Open()),
        (OPENERS, 10, 1, Wait()),
        (1, 3, 5, Wait()),
        (1, 4, 5, Open()),
        (OPENERS, 4 * OPENERS, 5, Wait()),
    ],
)
def test_as_many_open_as_are_needed_up_to_a_bound(
    opening: int, waiting: int, per_tunnel: int, expected: object
) -> None:
    """P23."""
    assert decide([], opening=opening, waiting=waiting, per_tunnel=per_tunnel) == expected


@pytest.mark.parametrize(
    ("since", "expected"),
    [([], []), ([None], []), ([0.0], [0]), ([0.1], []), ([None, -5.0, 3.0, 0.0], [1, 3])],
)
def test_expiry(since: list[float | None], expected: list[int]) -> None:
    assert expired(since, now=300.0, idle_s=300.0) == expected
