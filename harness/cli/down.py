"""`down`: remove what was made."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from harness.cli._output import Json, emit, note, say
from harness.engines import choice
from harness.errors import Leftovers, UsageError
from harness.testbed import leftovers
from harness.testbed.leftovers import Found, Standing

EXAMPLE = "down --all"


def command(
    run: Annotated[
        str, typer.Argument(help="A run's id; by default what `up` made.", show_default=False)
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also what dead runs left: containers, processes, folders.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove the testbed that `up` made, or with --all everything whose owner is dead. Images are kept."""
    if run and everything:
        raise UsageError("--all and a run's id contradict each other: give one of them")
    begin = time.monotonic()
    found = leftovers.runs()
    wanted = _wanted(found, run, everything=everything)
    failures = []
    lines: list[str] = []
    for each in wanted:
        try:
            leftovers.remove(each, lines.append)
        except Leftovers as exc:
            failures.append(str(exc))
    if everything:
        leftovers.remove_orphans(lines.append)
        _tell_what_was_kept(found)
    if json:
        removed = [{"run": each.run_id, "things": each.things} for each in wanted]
        emit({"removed": removed, "left": failures, "seconds": round(time.monotonic() - begin, 3)})
    else:
        for line in lines or ["nothing to remove"]:
            say(line)
    if failures:
        raise Leftovers("; ".join(failures))


def _wanted(found: list[Found], run: str, *, everything: bool) -> list[Found]:
    if everything:
        return [each for each in found if each.standing in {Standing.UP, Standing.LEFT}]
    if not run:
        return [each for each in found if each.standing is Standing.UP]
    named = [each for each in found if each.run_id == run]
    if not named:
        known = ", ".join(each.run_id for each in found) or "none"
        raise UsageError(f"no run {run!r} here; runs with something left: {known}")
    if named[0].standing in {Standing.LIVE, Standing.UNKNOWN}:
        raise UsageError(f"{named[0].words} is at work; stop that process and it removes what it made")
    return named


def _tell_what_was_kept(found: list[Found]) -> None:
    for each in found:
        if each.standing in {Standing.LIVE, Standing.UNKNOWN}:
            note(f"kept: {each.words}, owner {each.standing.value}")
    for name in choice.known():
        reason = choice.named(name).unfit()
        if reason is not None:
            note(f"engine {name} cannot be asked what is left there: {reason}")
