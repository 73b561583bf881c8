"""What an engine does: make and remove network namespaces and processes, nothing else.

Links, addresses, routes and rules are the agent's, the same on every engine. Every path that a
member sees equals the path that the harness sees: an engine that has its own file system mounts
each `Mount` at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from harness.engines.owner import Owner
from harness.errors import RunFailed

RUN_VARIABLE = "AMBIENTBENCH_RUN"
"""In the environment of every member and of what it starts: the id of the run that it belongs to."""


class Role(StrEnum):
    """What a member is for."""

    UNDERLAY = "underlay"
    NODE = "node"
    AGENT = "agent"
    ZTUNNEL = "ztunnel"
    """Part of the data plane: what a run's bills call the proxy."""
    HELPER = "helper"
    """Of the bench, beside a data plane that does not speak its language; no part of the data plane."""
    CONTROLPLANE = "controlplane"
    APP = "app"
    POD = "pod"
    """Holds the namespace of a pod in which nothing of ours runs: nobody asks it, or load comes out of it."""
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
    lane: int = 0
    """The lane that it is part of; 0 for what all lanes share."""
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
    cpus: tuple[int, ...] = ()
    """Cores that it and what it starts may use; empty: all."""


class EngineError(RunFailed):
    """An engine could not do what it was asked; the message names the member and what it found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What an engine has to know of a run: its name is in everything that is made."""

    id: str
    directory: Path
    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What an engine finds of one run, live or dead."""

    run_id: str
    owner: Owner | None
    """None when it cannot be read: whose it is, is then not known."""
    things: tuple[str, ...]
    """What exists, in the words of the engine's own tools: `container ambientbench-3f9c2a-node-a`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command's end."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Engine(Protocol):
    """A place where a testbed can live. One object per run."""

    name: str

    def prepare(self, told: Callable[[str], None], wanted: Collection[str] = ()) -> None:
        """Make ready what takes long and is kept: images, those `wanted` or all.

        `told` takes lines for the user.
        """

    def start(self, members: Sequence[Member]) -> None:
        """Start members, owners of namespaces before those that share them, otherwise at the same time.

        Returns when each process exists, not when it is ready.

        Raises:
            EngineError: A member could not be started; others of the same call may run. Or the run has
                been removed.
        """

    def files_of(self, member: Member) -> str:
        """Where a member's files come from: an image's tag, or the host's Python. For the record."""

    def stop(self, members: Collection[str]) -> None:
        """End members at once, by SIGKILL, and forget them: their names can be started again.

        Returns when they are gone. Their logs are kept, and a later member of the same name adds to them.

        Raises:
            EngineError: One of them owns a namespace that another member is in, or there is no such member.
        """

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

    def detach(self) -> None:
        """Let the testbed outlive this process, until `remove`."""

    def close(self) -> None:
        """Give back connections; the testbed stays, and they open again when needed."""

    def remove(self) -> None:
        """Remove everything that this run made, in any state, for good; idempotent.

        Raises:
            Leftovers: Something is still there; the message says what, and how to remove it by hand.
        """


class EngineModule(Protocol):
    """What an engine's file holds beside its class."""

    def unfit(self) -> str | None:
        """Why this engine cannot be used here and what to do about it, in one line; None when it can."""

    def engine(self, run: Run) -> Engine:
        """The engine of a run, new or (made by another process) existing."""

    def unbuilt(self, wanted: Collection[str]) -> list[str]:
        """Those of these images that are not there as they have to be, sorted; none where there are none."""

    def remains(self) -> list[Remains]:
        """Everything on this machine that runs of this user have made with this engine, live or dead."""
