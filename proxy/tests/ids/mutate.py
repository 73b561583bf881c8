"""`make test-ids MUTATE=1`: switch guards off one by one; the tests of the id must fail.

Each mutation runs in a pytest of its own, whose plugin (this module) applies it before anything is
collected. A test that then waits for ever has noticed as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from tempfile import TemporaryDirectory
from time import monotonic

import pytest

from proxy.hbone.limits import Limits
from proxy.tests.ids.collect import ROOT, Test
from proxy.tests.ids.mutations import http2, policy, telemetry
from proxy.tests.ids.mutations.mutation import Mutation

MUTATIONS: dict[str, Mutation] = {
    m.name: m for m in (*http2.MUTATIONS, *policy.MUTATIONS, *telemetry.MUTATIONS)
}
GUARDED = frozenset(
    {f"T{number:02}" for number in (*range(1, 14), 24, 25)} | {f"T{number}" for number in range(50, 65)}
)
"""Ids of floods and of who may be reached by whom: each has a guard, and each guard a mutation."""
PATIENCE_S = 90
"""How long the tests of one id may take as things are."""
LONGER = 3.0
"""With a guard off they may take that many times as long, and `SLACK_S`; then something hangs."""
SLACK_S = 5.0


def lacking(mutations: Iterable[Mutation]) -> list[str]:
    """Guarded ids, and limits of a connection, that no mutation takes the guard of."""
    there = list(mutations)
    ids, guards = {each.id for each in there}, {each.guard for each in there}
    limits = {field.name for field in fields(Limits)}
    return [
        *(f"{each}: no mutation switches its guard off" for each in sorted(GUARDED - ids)),
        *(f"limit {name}: no mutation lifts it" for name in sorted(limits - guards)),
    ]


def survivors(tests: Mapping[str, Sequence[Test]], names: Iterable[str] = MUTATIONS) -> list[str]:
    """Mutations that no test notices, and ids whose tests fail without any. Prints as it goes."""
    found, patience_s = [], {}
    for each in sorted({MUTATIONS[name].id for name in names} & tests.keys()):
        started = monotonic()
        if _run(tests[each], None, PATIENCE_S) != "passed":
            found.append(f"{each}: its tests do not pass as things are")
        patience_s[each] = SLACK_S + LONGER * (monotonic() - started)
    for name in names:
        started, each = monotonic(), MUTATIONS[name].id
        result = _run(tests[each], name, patience_s[each]) if each in patience_s else "no test"
        sys.stdout.write(f"{name:50} {'noticed' if result == 'failed' else result:10}")
        sys.stdout.write(f" {monotonic() - started:5.1f} s\n")
        sys.stdout.flush()
        if result != "failed":
            found.append(f"{name}: switched off, and the tests say: {result}")
    return found


def _run(tests: Sequence[Test], mutation: str | None, patience_s: float) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
    command += ["-p", __name__, "--mutation", mutation or "", *map(str, tests)]
    # Its own place for what it makes: one that is killed as it hangs removes nothing.
    with TemporaryDirectory(prefix="mutation-") as folder:
        env = {**os.environ, "TMPDIR": folder}
        try:
            done = subprocess.run(
                command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=patience_s, env=env
            )
        except subprocess.TimeoutExpired:
            return "failed"
    match done.returncode:
        case 0 if " passed" in done.stdout:
            return "passed"
        case 1:
            return "failed"
        case _:
            sys.stderr.write(done.stdout + done.stderr)
            return "did not run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """As a plugin of those runs."""
    parser.addoption("--mutation", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Switch the guard off."""
    name = config.getoption("--mutation")
    if name:
        MUTATIONS[name].apply()
