"""A moment beside what a tunnel's limits might take for an attack, and how it is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from proxy.tests.soak.neighbours import Beside

KINDS = ("aborted", "reset by the app", "refused", "denied", "tiny writes", "slow reader")
SHORT = f"""
import asyncio, json
from proxy.tests.soak.neighbours import neighbours
told = asyncio.run(neighbours(5, seed=7, kinds={KINDS!r}))
print(json.dumps([[beside.kind, sum(beside.done.values()), beside.problems()] for beside in told]))
"""


def test_neighbours_live_beside_a_moment_of_each_kind() -> None:
    """As far as a second goes; `make soak` takes the time that limits by rate need."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT], capture_output=True, text=True, check=True, timeout=240
    )
    told = json.loads(done.stdout)

    assert [kind for kind, _, _ in told] == list(KINDS)
    assert all(count > 0 for _, count, _ in told)
    assert [problems for _, _, problems in told] == [[]] * len(KINDS)


def beside(**changes: object) -> Beside:
    given = {"done": Counter({"refused": 9}), "failures": [], "lost": [], "echoes": 1, "worst_ms": 1.0}
    return Beside(kind="refused", seconds=1.0, **{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"lost": ["TimeoutError()"]}, ["beside refused: a neighbour was lost: TimeoutError()"]),
        ({"failures": ["refused: AssertionError()"]}, ["beside refused: refused: AssertionError()"]),
        ({"done": Counter()}, ["beside refused: not one connection was made"]),
        ({"echoes": 0}, ["beside refused: no neighbour had an echo"]),
    ],
)
def test_a_lost_neighbour_fails_the_soak(changes: dict[str, object], said: list[str]) -> None:
    assert beside(**changes).problems() == said
