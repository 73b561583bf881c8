"""The supervisor of a testbed on network namespaces: process 1 of its own pid namespace.

`netns` starts it under unshare(1). It makes namespaces, starts members in them with only their
capabilities, reaps what ends, and answers over a unix socket. When it ends the kernel ends every
process below it and the namespaces go with them; and it ends when its owner does, whose end of a
socket pair closes by SIGKILL too. `detach` (after `up`) makes it stay until `shutdown`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from harness.engines import kernel
from harness.engines.api import RUN_VARIABLE

NAMESPACES = Path("/run/netns")
"""Where ip-netns(8) keeps its own, so that `ip netns` works for a person who looks inside."""


@dataclass(slots=True, kw_only=True)
class Supervised:
    """A member as it was asked for, its process and how that ended."""

    spec: dict[str, Any]
    pid: int
    returncode: int | None = None


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Namespaces and processes of one run."""

    run_id: str
    rundir: Path
    root: str
    """Folder that holds the `harness` and `proxy` packages."""
    members: dict[str, Supervised] = field(default_factory=dict)
    detached: bool = False

    def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start members in order; a namespace not seen yet is made first."""
        for spec in request["members"]:
            if spec["name"] in self.members:
                raise ValueError(f"member {spec['name']} exists already")
            namespace = NAMESPACES / spec["namespace"]
            if not namespace.exists():
                _make_namespace(namespace, spec["sysctls"])
            pid = _spawn(spec, self.rundir / "logs" / f"{spec['name']}.log", self.root, self.run_id)
            self.members[spec["name"]] = Supervised(spec=spec, pid=pid)
        return self.processes({})

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """Kill members with all that they started, forget them, and unpin namespaces left empty."""
        leaving = {name: self.members.pop(name) for name in request["members"]}
        for member in leaving.values():
            if member.returncode is None:
                os.killpg(member.pid, signal.SIGKILL)
        for member in leaving.values():
            if member.returncode is None:
                os.waitpid(member.pid, 0)
        kept = {member.spec["namespace"] for member in self.members.values()}
        for namespace in {member.spec["namespace"] for member in leaving.values()} - kept:
            _unpin_namespace(NAMESPACES / namespace)
        return {}

    def processes(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Every member's pid (as seen in here), specification and, when it has ended, exit code."""
        return {
            "members": {
                name: {"pid": member.pid, "returncode": member.returncode, "spec": member.spec}
                for name, member in self.members.items()
            }
        }

    def kill(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a signal to a member that still runs."""
        member = self.members[request["member"]]
        if member.returncode is None:
            os.kill(member.pid, request["signal"])
        return {}

    def detach(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Outlive the owner, until `shutdown`."""
        self.detached = True
        return {}

    def shutdown(self, _request: dict[str, Any]) -> dict[str, Any]:
        """End, and with it everything; the answer is the connection's end."""
        raise SystemExit(0)

    def reap(self) -> None:
        """Take the exit codes of processes that have ended; orphans of members come here too."""
        by_pid = {member.pid: member for member in self.members.values() if member.returncode is None}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                code = os.waitstatus_to_exitcode(status)
                if pid in by_pid:
                    by_pid[pid].returncode = code if code >= 0 else 128 - code

    def answer(self, line: bytes) -> bytes:
        """One request's answer, in the form of the control channel."""
        operations = {
            "start": self.start,
            "processes": self.processes,
            "stop": self.stop,
            "kill": self.kill,
            "detach": self.detach,
            "shutdown": self.shutdown,
        }
        self.reap()
        try:
            request = json.loads(line)
            reply: dict[str, Any] = {"ok": operations[request.pop("op")](request), "bytes": 0}
        except (OSError, ValueError, KeyError) as exc:
            reply = {"error": {"kind": "failed", "message": f"{type(exc).__name__}: {exc}"}}
        return json.dumps(reply).encode() + b"\n"


def _make_namespace(path: Path, sysctls: dict[str, str]) -> None:
    """Make a network namespace, its loopback up and its sysctls set, and pin it at `path`."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        kernel.unshare()
        try:
            for name, value in sysctls.items():
                kernel.write_sysctl(name, value)
            kernel.loopback_up()
            path.touch()
            kernel.mount("/proc/self/ns/net", str(path), flags=kernel.MS_BIND)
        finally:
            kernel.setns(home)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(home)


def _unpin_namespace(path: Path) -> None:
    """Let a namespace go with the last process in it; one of its name can be made again."""
    kernel.unmount(str(path))
    path.unlink()


def _spawn(spec: dict[str, Any], log: Path, root: str, run_id: str) -> int:
    """Start a member in its namespace; its pid, once the program has really been executed.

    Raises:
        OSError: A step between fork and exec failed; the message says which.
    """
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _become(spec, log, root, run_id, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as reader:
        failure = reader.read().decode()
    if failure:
        os.waitpid(pid, 0)
        raise OSError(f"start {spec['name']} in {spec['namespace']}: {failure}")
    return pid


def _become(spec: dict[str, Any], log: Path, root: str, run_id: str, tell: int) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        namespace = os.open(NAMESPACES / spec["namespace"], os.O_RDONLY | os.O_CLOEXEC)
        kernel.setns(namespace)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir("/")
        if spec["cpus"]:
            os.sched_setaffinity(0, spec["cpus"])
        kernel.drop_capabilities(spec["capabilities"])
        kernel.forbid_new_privileges()
        command = spec["command"]
        program = sys.executable if command[0] == "python3" else command[0]
        settings = {**environment(root), RUN_VARIABLE: run_id, **spec["env"]}
        os.execvpe(program, [program, *command[1:]], settings)  # noqa: S606  # a shell is what must not be there
    except BaseException as exc:  # noqa: BLE001  # after fork nothing may return into the supervisor's code
        os.write(tell, f"{type(exc).__name__}: {exc}".encode())
    os._exit(127)


def environment(root: str) -> dict[str, str]:
    """What every member finds in its environment beside its own settings."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/run",
        "PYTHONPATH": root,
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }


def private_run(rundir: Path) -> None:
    """Give this mount namespace a /run of its own, in which the run's folder is where it was.

    /run is where xtables.lock, netns names and nginx's pid live: an ordinary user could not write
    there, and root's testbed must not meet the host's. What lay there, the Docker socket included,
    is out of sight.
    """
    # The folder is reached by its descriptor: once the tmpfs is mounted its path leads nowhere.
    keep = os.open(rundir, os.O_PATH | os.O_DIRECTORY)
    kernel.mount("tmpfs", "/run", kind="tmpfs", flags=kernel.MS_NOSUID | kernel.MS_NODEV, data="mode=755")
    if rundir.is_relative_to("/run"):
        rundir.mkdir(parents=True, mode=0o700)
        kernel.mount(f"/proc/self/fd/{keep}", str(rundir), flags=kernel.MS_BIND | kernel.MS_REC)
    os.close(keep)
    NAMESPACES.mkdir()


def serve(supervisor: Supervisor, owner: socket.socket, path: Path) -> None:
    """Answer until the owner is gone or a request says so."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(8)
    # Only now is it known to work: the owner waits for this byte.
    owner.send(b"\n")
    with selectors.DefaultSelector() as selector:
        for source in (woken, owner, listener):
            selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    woken.recv(4096)
                    supervisor.reap()
                elif key.fileobj is owner:
                    # The owner never sends: readable means closed.
                    if not supervisor.detached:
                        return
                    selector.unregister(owner)
                elif key.fileobj is listener:
                    connection, _ = listener.accept()
                    selector.register(connection, selectors.EVENT_READ, connection.makefile("rb"))
                else:
                    _converse(key, supervisor, selector)


def _converse(key: selectors.SelectorKey, supervisor: Supervisor, selector: selectors.BaseSelector) -> None:
    connection, reader = key.fileobj, key.data
    assert isinstance(connection, socket.socket)  # noqa: S101  # only connections carry a reader
    # A client sends one whole line and then waits, so reading a line here keeps nobody waiting.
    line = reader.readline()
    if line.endswith(b"\n"):
        with contextlib.suppress(OSError):
            connection.sendall(supervisor.answer(line))
        return
    selector.unregister(connection)
    reader.close()
    connection.close()


def attempt() -> None:
    """Do what the supervisor does before it starts anything: a /run of its own, and a member's namespace.

    A kernel may let everybody make namespaces and give nobody rights in them (AppArmor's profile of unshare).

    Raises:
        OSError: Something is not allowed; the message says what.
    """
    kernel.mount("tmpfs", "/run", kind="tmpfs", flags=kernel.MS_NOSUID | kernel.MS_NODEV, data="mode=755")
    NAMESPACES.mkdir()
    _make_namespace(NAMESPACES / "trial", {})


def main() -> None:
    """Run as process 1: `--run ID OWNER --owner FD --rundir DIR --root DIR`."""
    parser = argparse.ArgumentParser(description=__doc__)
    # Read by `netns` from the command line, to find the supervisors of runs that have died.
    parser.add_argument("--run", nargs=2, required=True, metavar=("ID", "OWNER"))
    parser.add_argument("--owner", type=int, required=True, help="descriptor of the owner's socket pair")
    parser.add_argument("--rundir", type=Path, required=True)
    parser.add_argument("--root", required=True)
    arguments = parser.parse_args()
    owner = socket.socket(fileno=arguments.owner)
    owner.set_inheritable(False)
    private_run(arguments.rundir)
    supervisor = Supervisor(run_id=arguments.run[0], rundir=arguments.rundir, root=arguments.root)
    serve(supervisor, owner, arguments.rundir / "engine" / "init.sock")


if __name__ == "__main__":
    main()
