"""What the pool decides, as tables."""

from __future__ import annotations

import pytest

from proxy.pool import Open, Use, View, Wait, decide, expired


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
    ],
)
def test_decision(views: list[View], opening: int, waiting: int, expected: object) -> None:
    assert decide(views, opening=opening, waiting=waiting, per_tunnel=100) == expected


def test_one_stream_per_tunnel_never_waits_for_another_opener() -> None:
    assert decide([], opening=3, waiting=0, per_tunnel=1) == Open()


@pytest.mark.parametrize(
    ("since", "expected"),
    [([], []), ([None], []), ([0.0], [0]), ([0.1], []), ([None, -5.0, 3.0, 0.0], [1, 3])],
)
def test_expiry(since: list[float | None], expected: list[int]) -> None:
    assert expired(since, now=300.0, idle_s=300.0) == expected
