"""`doctor`: what this machine can do, and what to do where it cannot."""

from __future__ import annotations

from dataclasses import asdict

from harness.cli._output import EngineName, Json, colour, emit, say, table
from harness.errors import ExitCode
from harness.testbed.checks import Status, diagnosis

COLOURS = {Status.OK: "32", Status.WARNING: "33", Status.FAILED: "31", Status.SKIPPED: "2"}
"""ANSI: green, yellow, red, dim. The word says the same."""

EXAMPLE = "doctor --engine netns"


def command(engine: EngineName = "", json: Json = False) -> int:
    """Check that a testbed can live here, by trying what it needs; exit code 3 when it cannot."""
    rows = diagnosis(engine)
    failed = [row for row in rows if row.status is Status.FAILED]
    code = ExitCode.UNFIT if failed else ExitCode.OK
    if json:
        emit({"fit": not failed, "checks": [asdict(row) for row in rows]})
        return code
    lines = table(
        ("check", "status", "found"), ((row.name, row.status, row.found) for row in rows)
    ).splitlines()
    say(lines[0])
    for row, line in zip(rows, lines[1:], strict=True):
        say(f"\033[{COLOURS[row.status]}m{line}\033[0m" if colour() else line)
    fixes = [row for row in rows if row.fix and row.status is not Status.OK]
    if fixes:
        say("\nwhat to do:")
        for row in fixes:
            say(f"  {row.name}: {row.fix}")
    return code
