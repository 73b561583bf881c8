"""What exists on this machine that a testbed could have changed, to compare before with after.

Containers, Docker networks and volumes, named namespaces, the host's links, addresses, routes, policy
rules, packet filter rules and forwarding sysctls, processes of runs, and run folders. A namespace
without a name lives as long as a process in it: processes stand for both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.engines.api import RUN_VARIABLE
from harness.engines.netns import SUPERVISOR
from harness.testbed import rundir

COUNTERS = re.compile(r"\[\d+:\d+\]|^#.*$", re.MULTILINE)
"""What iptables-save prints and traffic changes."""
COMMANDS = {
    "container": ["docker", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}"],
    "docker network": ["docker", "network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"],
    "docker volume": ["docker", "volume", "ls", "--format", "{{.Name}}"],
    "link": ["ip", "-o", "link", "show"],
    "address": ["ip", "-o", "address", "show"],
    "route": ["ip", "route", "show", "table", "all"],
    "policy rule": ["ip", "rule", "show"],
    "named namespace": ["ip", "netns", "list"],
    "filter rule": ["iptables-legacy-save"],
    "nft rule": ["iptables-nft-save"],
}
SYSCTLS = ("net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the machine."""

    entries: frozenset[str]

    @classmethod
    def take(cls) -> Self:
        """Look now. Kinds whose program is not installed, or may not be used, are left out of both looks."""
        entries: set[str] = set()
        for kind, command in COMMANDS.items():
            entries |= {f"{kind}: {line}" for line in _lines(command)}
        entries |= {f"process: {line}" for line in _processes()}
        entries |= {f"sysctl: {name} = {_sysctl(name)}" for name in SYSCTLS}
        base = rundir.base()
        entries |= {f"run folder: {path}" for path in (base.iterdir() if base.is_dir() else [])}
        return cls(frozenset(entries))

    def difference(self, later: Snapshot) -> list[str]:
        """What is there only before (`-`) or only after (`+`)."""
        gone = [f"- {entry}" for entry in sorted(self.entries - later.entries)]
        return gone + [f"+ {entry}" for entry in sorted(later.entries - self.entries)]


def _lines(command: list[str]) -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path)
    if program is None:
        return []
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    text = COUNTERS.sub("", done.stdout) if done.returncode == 0 else ""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _processes() -> list[str]:
    """Processes that belong to a run, by their environment, which children inherit; and supervisors."""
    marks = (f"{RUN_VARIABLE}=".encode(), SUPERVISOR.encode())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            # A name in the environment begins it, or follows the end of another.
            environment = b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"\0" + marks[0] in environment or marks[1] in command.split(b"\0"):
            found.append(f"{entry.name} {command.decode(errors='replace').replace(chr(0), ' ').strip()}")
    return found


def _sysctl(name: str) -> str:
    path = Path("/proc/sys") / name.replace(".", "/")
    return path.read_text().strip() if path.exists() else "absent"
