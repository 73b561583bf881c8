"""The soak's load for a moment, and its judgement."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest

from proxy.tests.soak.load import Figures
from proxy.tests.soak.parent import ORPHANED

GOOD = [(float(second), 100.0) for second in range(1800)]

SHORT = """
import asyncio, json
from proxy.tests.soak.load import load
figures = asyncio.run(load(3, connections=50, aborts=100, seed=7))
print(json.dumps([figures.failures, figures.descriptors, figures.tasks, dict(figures.done)]))
"""


def test_a_short_load_fails_nothing_and_leaves_nothing() -> None:
    """F13: streams, tasks and descriptors return to the base after aborted responses."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT], capture_output=True, text=True, check=True, timeout=240
    )
    failures, descriptors, tasks, kinds = json.loads(done.stdout)

    assert failures == []
    assert descriptors[1] <= descriptors[0]
    assert tasks[1] <= tasks[0]
    assert kinds["aborted response"] == 100
    assert kinds["ping-pong"] > 0


def test_callers_end_with_their_parent() -> None:
    command = [sys.executable, "-m", "proxy.tests.soak.callers", "1", "60", "1", "0", "7"]
    callers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    callers.communicate(timeout=20)  # closes their standard input

    assert callers.returncode == ORPHANED


def figures(**changes: object) -> Figures:
    given = {"seconds": 1800.0, "resident_mb": GOOD, "base_mb": 70.0, "aborts": 1}
    given |= {"descriptors": (9, 9), "tasks": (3, 3)}
    return Figures(**{"done": Counter({"aborted response": 1}), **given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resident_mb": [(s, 100 + s * 0.9 / 600) for s, _ in GOOD]}, None),
        (
            {"resident_mb": [(s, 100 + s * 1.1 / 600) for s, _ in GOOD]},
            "memory grows by 1.10 MB in 10 minutes",
        ),
        ({"resident_mb": [(s, 100 + 50 * (s > 300)) for s, _ in GOOD]}, None),
        ({"base_mb": -1.0}, "memory per connection: 101 kB"),
        ({"descriptors": (9, 10)}, "descriptors: 9 before, 10 after"),
        ({"tasks": (3, 4)}, "tasks: 3 before, 4 after"),
        ({"failures": ["bulk: TimeoutError()"]}, "bulk: TimeoutError()"),
        ({"done": Counter()}, "0 aborted responses, expected 1"),
    ],
)
def test_a_soak_fails_on_its_figures(changes: dict[str, object], said: str | None) -> None:
    problems = figures(**changes).problems()

    assert [problem.partition(",")[0] if "memory" in problem else problem for problem in problems] == (
        [said] if said else []
    )
