"""What an engine does: make and remove network namespaces and processes, nothing else.

Links, addresses, routes and rules are the agent's, the same on every engine. Every path that a
member sees equals the path that the harness sees: an engine that has its own file system mounts
each `Mount` at the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Role(StrEnum):
    """What a member is for."""

    UNDERLAY = "underlay"
    NODE = "node"
    AGENT = "agent"
    ZTUNNEL = "ztunnel"
    CONTROLPLANE = "controlplane"
    APP = "app"
    LOAD = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder of the run that a member may see."""

    path: Path
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process to start: on Docker a container, on netns a process in a namespace.

    A member with `namespace` equal to a name not seen yet brings that network namespace to exist
    and owns it; later members with the same name share it.
    """

    name: str
    role: Role
    node: str
    """The node's name; empty for what belongs to no node."""
    image: str
    """Folder name in `images/`; ignored where processes run from the host's files."""
    namespace: str
    command: tuple[str, ...]
    """Arguments; `python3` stands for the member's own Python (with `harness` and `proxy` importable)."""
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    capabilities: Mapping[str, str] = field(default_factory=dict)
    """Capability without the CAP_ prefix -> why it is needed. Everything else is dropped."""
    host_pids: bool = False
    """Whether it must see other members' /proc/PID (the agent, which enters namespaces)."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Net sysctls of the namespace, set when it is created; only for the member that owns it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command's end."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Engine(Protocol):
    """A place where a testbed can live. One object per run."""

    name: str

    def prepare(self) -> None:
        """Make ready what takes long and is kept (images)."""

    def start(self, members: Sequence[Member]) -> None:
        """Start members in order; returns when each process exists (not when it is ready)."""

    def namespace_path(self, namespace: str) -> str:
        """The namespace as agents can open it: /proc/PID/ns/net or /run/netns/NAME."""

    def execute(
        self, member: str, command: Sequence[str], *, stdin: bytes = b"", interactive: bool = False
    ) -> Completed:
        """Run a command beside a member, in its namespaces, and wait for its end."""

    def kill(self, member: str, signal: int) -> None:
        """Send a signal to a member's process."""

    def exited(self) -> Mapping[str, int]:
        """Members that have ended -> exit code (128 + signal where killed)."""

    def pids(self) -> Mapping[str, int]:
        """Members -> their process's pid as the host sees it, for CPU accounting."""

    def logs(self, member: str) -> str:
        """What the member wrote to its standard output and error."""

    def remove(self) -> None:
        """Remove everything that this run made, in any state; idempotent."""
