"""Rules through the iptables-restore and iptables-save programs, for kernels with nft alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from harness.agent.appliers import LOCK_WAIT_S, OWN, ApplyError, Line, fold, own
from harness.agent.netns import LOCK_PATH
from harness.agent.rules.model import RuleSet
from harness.agent.rules.render import render

_RULE = re.compile(r"\[(?P<packets>\d+):(?P<bytes>\d+)\] -A (?P<chain>\S+) ?(?P<text>.*)")
_CHAIN = re.compile(r":(?P<name>\S+) ")

BACKENDS = ("iptables-nft", "iptables")
"""In the order in which they are tried: the one that says what it is, then whatever the system has."""


class Restore:
    """See the module."""

    name = "iptables-restore"

    def apply(self, rules: RuleSet) -> None:
        """See `Applier`."""
        removals = {table.name: list(_removals(table.name, rules)) for table in rules.tables}
        text = render(rules, removals=removals)
        _run("restore", "--noflush", "--wait", f"{LOCK_WAIT_S:.0f}", stdin=text)

    def read(self, tables: Sequence[str]) -> list[Line]:
        """See `Applier`."""
        return [line for table in tables for line in _lines(table, _saved(table))]


def _removals(table: str, rules: RuleSet) -> Iterator[str]:
    wanted = {chain.name for entry in rules.tables if entry.name == table for chain in entry.chains}
    saved = _saved(table)
    for line in _lines(table, saved):
        if own(line) and not line.chain.startswith(OWN):
            yield f"-D {line.chain} {line.text}"
    stale = [name for name in _CHAIN.findall(saved) if name.startswith(OWN) and name not in wanted]
    yield from (f"-F {name}" for name in stale)
    yield from (f"-X {name}" for name in stale)


def _saved(table: str) -> str:
    return _run("save", "-c", "-t", table)


def _lines(table: str, saved: str) -> list[Line]:
    return fold(
        Line(
            table=table,
            chain=found["chain"],
            text=found["text"],
            packets=int(found["packets"]),
            bytes=int(found["bytes"]),
        )
        for line in saved.splitlines()
        if (found := _RULE.fullmatch(line))
    )


def _run(verb: str, *arguments: str, stdin: str = "") -> str:
    program = next((found for backend in BACKENDS if (found := shutil.which(f"{backend}-{verb}"))), None)
    if program is None:
        raise ApplyError(f"no iptables-{verb} on PATH: install the iptables package")
    command = [program, *arguments]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=2 * LOCK_WAIT_S,
            check=False,
            env={**os.environ, "XTABLES_LOCKFILE": LOCK_PATH},
        )
    except subprocess.TimeoutExpired as exc:
        raise ApplyError(f"{' '.join(command)}: no end after {exc.timeout} s") from exc
    if done.returncode:
        said = done.stderr.strip()
        line = re.search(r"line (\d+)", said)
        at = f" at: {stdin.splitlines()[int(line[1]) - 1]}" if line and stdin else ""
        raise ApplyError(f"{' '.join(command)}: exit {done.returncode}: {said}{at}")
    return done.stdout
