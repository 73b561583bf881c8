"""Do the tests of the proxy's own ids fail on older sources? `python -m proxy.tests.ids.against REV [ID ...]`

Prints a table, one row per test: the sources are REV's, the tests are those that stand here. Exits with 1
where an id has no test that fails there.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.tests.ids.catalogue import catalogue
from proxy.tests.ids.collect import FOLDERS, ROOT, Test, by_id

PATIENCE_S = 120
"""For one test with all of its parameters."""


class Result(StrEnum):
    """What a test says of older sources."""

    FAILED = "failed"
    IMPORT = "failed (import)"
    """It needs what is not there."""
    HANGS = "failed (hangs)"
    PASSED = "passed"
    SKIPPED = "skipped"
    ERROR = "did not run"


FAILS = frozenset({Result.FAILED, Result.IMPORT, Result.HANGS})


def against(revision: str, ids: Iterable[str], folder: Path) -> Iterator[tuple[str, Test | None, Result]]:
    """Each id with each of its tests and its result; with None where it has no test."""
    _lay_out(revision, folder)
    tests: Mapping[str, Sequence[Test]] = by_id()
    results: dict[Test, Result] = {}
    for each in ids:
        if each not in tests:
            yield each, None, Result.ERROR
        for test in tests.get(each, ()):
            if test not in results:
                results[test] = _result(test, folder)
            yield each, test, results[test]


def unproven(rows: Iterable[tuple[str, Test | None, Result]]) -> list[str]:
    """Ids of which no test fails."""
    fails: dict[str, bool] = {}
    for each, _, result in rows:
        fails[each] = fails.get(each, False) or result in FAILS
    return [each for each, failed in fails.items() if not failed]


def outcome(code: int, said: str) -> Result:
    """What a run of pytest tells by its exit code and its output."""
    match code:
        case 0 if " passed" in said:
            return Result.PASSED
        case 0:
            return Result.SKIPPED
        case 1:
            return Result.FAILED
        case 2 | 4 if "ImportError" in said or "ModuleNotFoundError" in said:
            return Result.IMPORT
        case _:
            return Result.ERROR


def _lay_out(revision: str, folder: Path) -> None:
    """The revision's files, with the tests of today in the place of its own."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], check=True, input=archive.stdout)
    for tests in FOLDERS:
        shutil.rmtree(folder / tests, ignore_errors=True)
        shutil.copytree(ROOT / tests, folder / tests, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / name, folder / name)


def _result(test: Test, folder: Path) -> Result:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", str(test)]
    try:
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return Result.HANGS
    return outcome(done.returncode, done.stdout + done.stderr)


def main() -> int:
    """0: every id has a test that fails there."""
    parser = argparse.ArgumentParser(prog="python -m proxy.tests.ids.against", description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("ids", nargs="*", default=list(catalogue()["proxy"]), metavar="ID")
    given = parser.parse_args()
    rows = []
    sys.stdout.write(f"| id | test | on {given.revision} |\n|---|---|---|\n")
    with TemporaryDirectory(prefix="against-") as folder:
        for row in against(given.revision, given.ids, Path(folder)):
            rows.append(row)
            each, test, result = row
            sys.stdout.write(f"| {each} | {test or '-'} | {result if test else 'no test'} |\n")
            sys.stdout.flush()
    missing = unproven(rows)
    sys.stdout.write(f"\n{len(rows)} rows; no test fails there: {', '.join(missing) or 'none'}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
