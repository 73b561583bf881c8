"""The engine without containers: network namespaces and processes under one supervisor.

As root, or as an ordinary user inside a user namespace of its own; nothing is made outside. The
supervisor (`netns_init`) dies with this process unless `detach` was called, and everything with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.control import Channel, ControlError
from harness.engines import kernel, stops
from harness.engines.api import Completed, EngineError, Member, Remains, Run
from harness.engines.netns_init import NAMESPACES, environment
from harness.engines.owner import Owner
from harness.engines.starts import Starts
from harness.errors import Leftovers

SUPERVISOR = "harness.engines.netns_init"
TOOLS = ("unshare", "nsenter", "setpriv")
"""All of util-linux."""
START_TIMEOUT_S = 10.0
"""The supervisor takes 0.15 s to answer on an idle machine."""
GONE_TIMEOUT_S = 3.0

_ROOT = str(Path(__file__).parents[2])


def unfit() -> str | None:
    """Why namespaces cannot be used here; None when they can. Makes a set of them as a supervisor does."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found; install util-linux"
    command = [*_unshare(), sys.executable, "-c", f"from {SUPERVISOR} import attempt; attempt()"]
    attempt = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
        env={**environment(_ROOT)},
        cwd="/",
    )
    if attempt.returncode == 0:
        return None
    said = attempt.stderr.strip().splitlines()
    return f"{' '.join(_unshare())}: {said[-1] if said else attempt.returncode}; {_hint()}"


def _unshare() -> list[str]:
    user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


FORBIDDING = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "10000"),
)
"""Settings, the value by which they forbid user namespaces (or, AppArmor's, all rights inside), and one that
does not. Debian's, Ubuntu's (23.10 and later), everybody's."""
_SETTINGS = Path("/proc/sys")


def _hint() -> str:
    """What forbids namespaces here, as far as the kernel's settings tell."""
    if os.getuid() == 0:
        return "this root lacks CAP_SYS_ADMIN (a container?): run on the host, or in a container with it"
    for name, forbidding, allowing in FORBIDDING:
        path = _SETTINGS / name.replace(".", "/")
        if path.exists() and path.read_text().strip() == forbidding:
            remedy = f"sysctl -w {name}={allowing}"
            return f"user namespaces are forbidden or without rights ({name}={forbidding}); as root: {remedy}"
    return "user namespaces are forbidden here: run as root, or use --engine docker"


def engine(run: Run) -> NetnsEngine:
    """The engine of a run, new or existing."""
    return NetnsEngine(run)


def unbuilt(wanted: Collection[str]) -> list[str]:  # noqa: ARG001  # the slot's signature
    """Members run from the host's files."""
    return []


def remains() -> list[Remains]:
    """Supervisors of this user, by their command line; what they hold goes with them."""
    return [
        Remains(run_id=run_id, owner=owner, things=(f"process {pid} ({SUPERVISOR})",))
        for pid, run_id, owner in _supervisors()
    ]


def _supervisors() -> list[tuple[int, str, Owner | None]]:
    """Every supervisor of this user: (pid, run id, owner). unshare(1) carries the same arguments."""
    found: list[tuple[int, str, Owner | None]] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            mine = entry.stat().st_uid == os.getuid()
        except OSError:
            continue
        if mine and SUPERVISOR in arguments and "--run" in arguments and arguments[0] != "timeout":
            index = arguments.index("--run")
            run_id, owner = (*arguments[index + 1 : index + 3], "", "")[:2]
            try:
                found.append((int(entry.name), run_id, Owner.parse(owner)))
            except ValueError:
                found.append((int(entry.name), run_id, None))
    return found


class NetnsEngine:
    """One run's namespaces and processes."""

    name = "netns"

    def __init__(self, run: Run) -> None:
        self.run = run
        self._socket_path = run.directory / "engine" / "init.sock"
        self._channel: Channel | None = None
        self._turn = threading.Lock()
        self._owner_end: socket.socket | None = None
        self._launched: subprocess.Popen[bytes] | None = None
        self._starts = Starts(run)

    def prepare(self, told: Callable[[str], None], wanted: Collection[str] = ()) -> None:
        """Nothing takes long here: processes run from the host's files."""

    def start(self, members: Sequence[Member]) -> None:
        """Start members in order, the supervisor before the first."""
        with self._starts.one():
            self._start(members)

    def _start(self, members: Sequence[Member]) -> None:
        if self._channel is None and not self._socket_path.exists():
            self._launch()
        specs = [
            {
                "name": member.name,
                "namespace": member.namespace,
                "command": list(member.command),
                "env": dict(member.env),
                "capabilities": [name for name in member.capabilities if name in kernel.CAPABILITIES],
                "sysctls": dict(member.sysctls),
                "cpus": list(member.cpus),
            }
            for member in members
        ]
        self._ask("start", members=specs)

    def stop(self, members: Collection[str]) -> None:
        """Have the supervisor kill members and forget them, with namespaces that nobody is left in."""
        started = {name: member["spec"]["namespace"] for name, member in self._members().items()}
        stops.check(self.run.id, members, started)
        self._ask("stop", members=list(members))

    def files_of(self, member: Member) -> str:  # noqa: ARG002  # the same for all
        """The host's Python, with the code as it lies here."""
        return f"{sys.executable}, {_ROOT}"

    def namespace_path(self, namespace: str) -> str:
        """Where members find a namespace; the path means something inside the testbed only."""
        return str(NAMESPACES / namespace)

    def execute(
        self, member: str, command: Sequence[str], *, stdin: bytes = b"", interactive: bool = False
    ) -> Completed:
        """Run a command beside a member: same namespaces, same capabilities, same environment."""
        spec = self._spec(member)
        keep = ",".join(f"+{name.lower()}" for name in spec["capabilities"])
        program = sys.executable if command[0] == "python3" else command[0]
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        arguments = [
            *("nsenter", f"--target={self.supervisor_pid()}", *user, "--mount", "--pid"),
            *("nsenter", f"--net={NAMESPACES / spec['namespace']}"),
            *(
                "setpriv",
                f"--bounding-set=-all{',' if keep else ''}{keep}",
                "--inh-caps=-all",
                "--no-new-privs",
            ),
            *("--", program, *command[1:]),
        ]
        env = {
            **environment(_ROOT),
            **spec["env"],
            **({"TERM": os.environ.get("TERM", "dumb")} if interactive else {}),
        }
        try:
            if interactive:
                done = subprocess.run(arguments, env=env, cwd="/", check=False)
                return Completed(returncode=done.returncode, stdout=b"", stderr=b"")
            result = subprocess.run(
                arguments, env=env, cwd="/", input=stdin, capture_output=True, check=False
            )
        except OSError as exc:
            raise EngineError(f"run {command[0]} beside {member}: {exc}") from exc
        code = result.returncode
        return Completed(
            returncode=code if code >= 0 else 128 - code, stdout=result.stdout, stderr=result.stderr
        )

    def kill(self, member: str, signal: int) -> None:
        """Send a signal to a member's process; one that has ended is left alone."""
        self._spec(member)
        self._ask("kill", member=member, signal=signal)

    def exited(self) -> Mapping[str, int]:
        """Members that have ended, with their exit codes."""
        return {
            name: member["returncode"]
            for name, member in self._members().items()
            if member["returncode"] is not None
        }

    def pids(self) -> Mapping[str, int]:
        """Running members -> pid as this process sees it."""
        inside = {
            member["pid"]: name for name, member in self._members().items() if member["returncode"] is None
        }
        supervisor = str(self.supervisor_pid())
        pids = {}
        # /proc/PID/task/TID/children would do, where the kernel has it (CONFIG_PROC_CHILDREN)
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                fields = dict(line.split(":", 1) for line in path.read_text().splitlines())
            except OSError:
                continue
            if fields["PPid"].strip() != supervisor:
                continue
            name = inside.get(int(fields["NSpid"].split()[-1]))
            if name is not None:
                pids[name] = int(path.parent.name)
        return pids

    def logs(self, member: str) -> str:
        """The member's log file so far."""
        path = self.run.directory / "logs" / f"{member}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def detach(self) -> None:
        """Let the supervisor stay when this process ends."""
        self._ask("detach")

    def close(self) -> None:
        """Close the connection to the supervisor; it opens again when needed."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def remove(self) -> None:
        """End the supervisor: the kernel ends what it started, and the namespaces go with it."""
        self._starts.end()
        # Nobody there, or already going: what counts is found below.
        with contextlib.suppress(ControlError):
            self._connected().send("shutdown")
        self.close()
        if self._owner_end is not None:
            self._owner_end.close()
            self._owner_end = None
        self._await_gone()
        self._socket_path.unlink(missing_ok=True)

    def _await_gone(self) -> None:
        """Wait until no supervisor of this run is left; halfway, kill it."""
        begin = time.monotonic()
        killed = False
        while pids := [pid for pid, run_id, _ in _supervisors() if run_id == self.run.id]:
            if self._launched is not None:
                self._launched.poll()
            waited = time.monotonic() - begin
            if waited > GONE_TIMEOUT_S / 2 and not killed:
                killed = True
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
            if waited > GONE_TIMEOUT_S:
                commands = f"kill -9 {' '.join(map(str, pids))}"
                raise Leftovers(f"run {self.run.id}: supervisor still there after SIGKILL; try: {commands}")
            time.sleep(0.01)
        if self._launched is not None:
            self._launched.wait()

    def _launch(self) -> None:
        """Start the supervisor and wait until it answers."""
        for name in ("engine", "logs"):
            (self.run.directory / name).mkdir(mode=0o700, exist_ok=True)
        log = self.run.directory / "logs" / "supervisor.log"
        self._owner_end, theirs = socket.socketpair()
        with theirs, log.open("wb") as output:
            self._launched = subprocess.Popen(
                [
                    *_unshare(),
                    *(sys.executable, "-m", SUPERVISOR, "--run", self.run.id, str(self.run.owner)),
                    *("--owner", str(theirs.fileno()), "--rundir", str(self.run.directory), "--root", _ROOT),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment(_ROOT)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._owner_end.settimeout(START_TIMEOUT_S)
        try:
            ready = self._owner_end.recv(1)
        except TimeoutError:
            ready = b""
        if not ready:
            self._owner_end.close()
            self._launched.kill()
            self._launched.wait()
            said = log.read_text(errors="replace").strip().splitlines()
            raise EngineError(
                f"start the supervisor of run {self.run.id}: {said[-1] if said else 'no answer'}"
            )

    def _connected(self) -> Channel:
        if self._channel is None:
            self._channel = Channel(self._socket_path)
        return self._channel

    def _ask(self, op: str, /, **arguments: Any) -> dict[str, Any]:
        try:
            # One connection, one answer per question: threads take turns.
            with self._turn:
                return self._connected().call(op, **arguments).document
        except ControlError as exc:
            raise EngineError(f"run {self.run.id}: {op}: {exc}") from exc

    def _members(self) -> dict[str, Any]:
        members: dict[str, Any] = self._ask("processes")["members"]
        return members

    def _spec(self, member: str) -> dict[str, Any]:
        members = self._members()
        if member not in members:
            raise EngineError(
                f"run {self.run.id} has no member {member!r}; known: {', '.join(sorted(members))}"
            )
        spec: dict[str, Any] = members[member]["spec"]
        return spec

    def supervisor_pid(self) -> int:
        """The supervisor as this process sees it: the other side of the socket."""
        peer = self._connected().peer_pid()
        if peer == 0:
            raise EngineError(f"run {self.run.id}: the supervisor is not visible from this pid namespace")
        return peer
