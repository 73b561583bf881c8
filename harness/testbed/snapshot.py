"""What exists on this machine that a testbed could have changed, to compare before with after.

Containers, Docker networks and volumes, network namespaces, the host's links, addresses, routes,
policy rules, packet filter rules and forwarding sysctls, the harness's processes, and run folders.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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
MODULES = ("harness.", "proxy")
"""What a testbed's processes run with `python3 -m`."""


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
        entries |= {f"namespace: {line}" for line in _namespaces()}
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
    """Processes that run a testbed's modules, and supervisors."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "-m" in arguments and arguments[arguments.index("-m") + 1].startswith(MODULES):
            found.append(f"{entry.name} {' '.join(arguments).strip()}")
    return found


def _namespaces() -> set[str]:
    """Network namespaces that some process is in, by inode, each with its oldest process's program."""
    holders: dict[str, str] = {}
    for pid in sorted(int(entry.name) for entry in Path("/proc").glob("[0-9]*")):
        try:
            inode = str(Path(f"/proc/{pid}/ns/net").readlink())
            holders.setdefault(inode, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode())
        except OSError:
            continue
    return {f"{inode} ({program})" for inode, program in holders.items()}


def _sysctl(name: str) -> str:
    path = Path("/proc/sys") / name.replace(".", "/")
    return path.read_text().strip() if path.exists() else "absent"
