"""`exec`: run something inside a standing testbed."""

from __future__ import annotations

import difflib
import sys
from typing import Annotated

import typer

from harness.engines import choice
from harness.engines.api import Engine
from harness.errors import UsageError
from harness.testbed import leftovers
from harness.testbed.leftovers import Standing

PREFIXES = ("", "pod-{lane}-", "host-", "node-")
"""A pod, host or node is named as in the suite; members have a prefix, a pod's with its lane."""

EXAMPLE = "exec client -- ip address"


def command(
    member: Annotated[
        str, typer.Argument(metavar="POD", help="A pod, host or node, or a member such as agent-a.")
    ],
    arguments: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run.")],
    lane: Annotated[int, typer.Option(min=1, help="The lane whose pod is meant.")] = 1,
    run: Annotated[str, typer.Option(help="A run's id; by default what `up` made.")] = "",
) -> int:
    """Run a command beside a pod: its network namespace, its rights. Exits with the command's code."""
    engine = _engine(run)
    completed = engine.execute(_member(engine, member, lane), arguments, interactive=True)
    sys.stdout.flush()
    return completed.returncode


def _engine(run: str) -> Engine:
    usable = [found for found in leftovers.runs() if found.standing in {Standing.UP, Standing.LIVE}]
    wanted = [found for found in usable if found.run_id == run] if run else usable
    if not wanted or wanted[0].directory is None:
        known = ", ".join(found.run_id for found in usable)
        hint = f"running: {known}" if known else "no testbed is up; ambientbench up brings one up"
        raise UsageError(f"no testbed {run!r}; {hint}" if run else hint)
    directory = wanted[0].directory
    return choice.named(directory.journal.engine).engine(directory.run)


def _member(engine: Engine, name: str, lane: int) -> str:
    members = {*engine.pids()}
    for prefix in PREFIXES:
        full = prefix.format(lane=lane) + name
        if full in members:
            return full
    nearest = difflib.get_close_matches(name, members, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UsageError(
        f"nothing named {name!r} runs in this testbed; {hint}running: {', '.join(sorted(members))}"
    )
