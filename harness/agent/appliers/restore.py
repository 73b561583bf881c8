"""Rules through the restore and save programs of iptables and ip6tables, for kernels with nft alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from harness.agent.appliers import LOCK_WAIT_S, OWN, ApplyError, Line, fold, own
from harness.agent.netns import LOCK_PATH
from harness.agent.rules.model import RuleSet, is_ipv6, kernel_name
from harness.agent.rules.render import render

_RULE = re.compile(r"\[(?P<packets>\d+):(?P<bytes>\d+)\] -A (?P<chain>\S+) ?(?P<text>.*)")
_CHAIN = re.compile(r":(?P<name>\S+) ")

BACKENDS = ("iptables-nft", "iptables")
"""In the order in which they are tried: the one that says what it is, then whatever the system has."""


class Restore:
    """See the module."""

    name = "iptables-restore"

    def __init__(self, backends: Sequence[str] = BACKENDS) -> None:
        self._backends = backends

    def apply(self, rules: RuleSet) -> None:
        """See `Applier`."""
        for family, program in zip(rules.by_family(), ("iptables", "ip6tables"), strict=True):
            removals = {table.name: list(self._removals(table.name, rules)) for table in family.tables}
            text = render(family, removals=removals)
            if text:
                self._run(program, "restore", "--noflush", "--wait", f"{LOCK_WAIT_S:.0f}", stdin=text)

    def read(self, tables: Sequence[str]) -> list[Line]:
        """See `Applier`."""
        return [line for table in tables for line in _lines(table, self._saved(table))]

    def _removals(self, table: str, rules: RuleSet) -> Iterator[str]:
        wanted = {chain.name for entry in rules.tables if entry.name == table for chain in entry.chains}
        saved = self._saved(table)
        for line in _lines(table, saved):
            if own(line) and not line.chain.startswith(OWN):
                yield f"-D {line.chain} {line.text}"
        stale = [name for name in _CHAIN.findall(saved) if name.startswith(OWN) and name not in wanted]
        yield from (f"-F {name}" for name in stale)
        yield from (f"-X {name}" for name in stale)

    def _saved(self, table: str) -> str:
        program = "ip6tables" if is_ipv6(table) else "iptables"
        return self._run(program, "save", "-c", "-t", kernel_name(table))

    def _run(self, program: str, verb: str, *arguments: str, stdin: str = "") -> str:
        names = [f"{backend.replace('iptables', program)}-{verb}" for backend in self._backends]
        path = next((found for name in names if (found := shutil.which(name))), None)
        if path is None:
            raise ApplyError(f"no {names[-1]} on PATH: install the iptables package")
        command = [path, *arguments]
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
