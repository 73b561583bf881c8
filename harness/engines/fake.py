"""An engine for tests: members are plain processes of this user, without namespaces of their own.

It passes the contract tests of the real ones, apart from isolation; nobody can choose it by name.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from harness.engines import stops
from harness.engines.api import Completed, EngineError, Member, Run
from harness.engines.starts import Starts

_ROOT = str(Path(__file__).parents[2])


def engine(run: Run) -> FakeEngine:
    """A new engine; existing runs cannot be reached from another process."""
    return FakeEngine(run)


class FakeEngine:
    """One run's processes."""

    name = "fake"

    def __init__(self, run: Run) -> None:
        self.run = run
        self._members: dict[str, Member] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._starts = Starts(run)

    def prepare(self, told: Callable[[str], None], wanted: Collection[str] = ()) -> None:
        """Nothing to make ready."""

    def start(self, members: Sequence[Member]) -> None:
        """Start one process per member."""
        with self._starts.one():
            self._start(members)

    def _start(self, members: Sequence[Member]) -> None:
        (self.run.directory / "logs").mkdir(exist_ok=True)
        for member in members:
            if member.name in self._members:
                raise EngineError(f"start {member.name}: it exists already")
            with self._log(member.name).open("ab") as log:
                try:
                    self._processes[member.name] = subprocess.Popen(
                        self._program(member.command),
                        env=self._environment(member),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                except OSError as exc:
                    raise EngineError(f"start {member.name}: {exc}") from exc
            if member.cpus:
                os.sched_setaffinity(self._processes[member.name].pid, member.cpus)
            self._members[member.name] = member

    def stop(self, members: Collection[str]) -> None:
        """Kill processes with all that they started, and forget them."""
        stops.check(self.run.id, members, {name: each.namespace for name, each in self._members.items()})
        for name in members:
            if self._processes[name].poll() is None:
                os.killpg(self._processes[name].pid, signal.SIGKILL)
        for name in members:
            self._processes.pop(name).wait()
            del self._members[name]

    def files_of(self, member: Member) -> str:  # noqa: ARG002  # the same for all
        """The host's Python, with the code as it lies here."""
        return f"{sys.executable}, {_ROOT}"

    def namespace_path(self, namespace: str) -> str:
        """This process's own namespace, whichever is asked for, as long as it was made."""
        if namespace not in {member.namespace for member in self._members.values()}:
            raise EngineError(f"run {self.run.id} has no namespace {namespace!r}")
        return f"/proc/{os.getpid()}/ns/net"

    def execute(
        self, member: str, command: Sequence[str], *, stdin: bytes = b"", interactive: bool = False
    ) -> Completed:
        """Run a command with the member's environment."""
        env = self._environment(self._known(member))
        capture = None if interactive else subprocess.PIPE
        done = subprocess.run(
            self._program(command), env=env, input=stdin, stdout=capture, stderr=capture, check=False
        )
        return Completed(
            returncode=_shell_code(done.returncode), stdout=done.stdout or b"", stderr=done.stderr or b""
        )

    def kill(self, member: str, signal: int) -> None:
        """Send a signal to a process that has not ended."""
        self._known(member)
        self._processes[member].send_signal(signal)

    def exited(self) -> Mapping[str, int]:
        """Members that have ended, with their exit codes."""
        codes = {name: process.poll() for name, process in self._processes.items()}
        return {name: _shell_code(code) for name, code in codes.items() if code is not None}

    def pids(self) -> Mapping[str, int]:
        """Running members -> pid."""
        return {name: process.pid for name, process in self._processes.items() if process.poll() is None}

    def logs(self, member: str) -> str:
        """What the member wrote."""
        return self._log(member).read_text(errors="replace") if self._log(member).exists() else ""

    def detach(self) -> None:
        """Processes outlive this one by themselves."""

    def close(self) -> None:
        """Nothing is kept open."""

    def remove(self) -> None:
        """Kill what still runs."""
        self._starts.end()
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        self._members.clear()

    def _known(self, member: str) -> Member:
        if member not in self._members:
            known = ", ".join(sorted(self._members))
            raise EngineError(f"run {self.run.id} has no member {member!r}; known: {known}")
        return self._members[member]

    def _log(self, member: str) -> Path:
        return self.run.directory / "logs" / f"{member}.log"

    def _program(self, command: Sequence[str]) -> list[str]:
        return [sys.executable if command[0] == "python3" else command[0], *command[1:]]

    def _environment(self, member: Member) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": _ROOT, "PYTHONSAFEPATH": "1", **member.env}


def _shell_code(code: int) -> int:
    return code if code >= 0 else 128 - code
