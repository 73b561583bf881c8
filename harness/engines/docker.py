"""The engine with containers. The only file that imports docker.

Every container runs without a network of Docker's (`network_mode=none`, or another member's
namespace), with all capabilities dropped but the listed ones, a read-only root and labels that say
which run it belongs to and whose that is. Engine API 1.41 (20.10) and newer.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import docker.errors
import requests
from docker.utils.socket import frames_iter

from harness.engines import images, stops
from harness.engines.api import RUN_VARIABLE, Completed, EngineError, Member, Remains, Run
from harness.engines.docker_answers import refusal
from harness.engines.docker_endpoint import CERTIFICATES, NoEndpoint, endpoint
from harness.engines.docker_images import DockerImages
from harness.engines.owner import Owner
from harness.engines.starts import Starts
from harness.errors import Leftovers

UNLABELLED = "label=disable"
"""Where SELinux is enforced, containers could not open the run's folder, nor each other's sockets in it;
ztunnel and istio-cni run unconfined there too (spc_t). Other engines pass over it."""

LABEL_RUN = "ambientbench.run"
LABEL_OWNER = "ambientbench.owner"
LABEL_ROLE = "ambientbench.role"
LABEL_MEMBER = "ambientbench.member"
LABEL_NAMESPACE = "ambientbench.namespace"

ANSWER_TIMEOUT_S = 60
PROBE_TIMEOUT_S = 4
THREADS = 16
"""Containers are started and removed at the same time: 14 take 2 s, one after the other 6 s."""
REMOVE_ATTEMPTS, REMOVE_PAUSE_S = 40, 0.1
"""How often what is left is looked at: a removal that the engine has begun cannot be hurried."""
FOREIGN_FAILURES = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


def unfit() -> str | None:
    """Why the Docker engine cannot be used here; None when it can. Asks it two questions."""
    try:
        chosen = endpoint()
    except NoEndpoint as exc:
        return str(exc)
    if chosen.elsewhere:
        return chosen.elsewhere
    try:
        with _client(timeout=PROBE_TIMEOUT_S) as client:
            version, info = client.version(), client.info()
    except FOREIGN_FAILURES as exc:
        return (
            f"no Docker engine answers at {chosen.url} ({_reason(exc)}); "
            "start it, or join the group that may use its socket"
        )
    return refusal(version, info, kernel=platform.release(), local=urlsplit(chosen.url).scheme == "unix")


def _client(**settings: Any) -> docker.APIClient:
    """A client of the engine that is meant; see `docker_endpoint`."""
    chosen = endpoint()
    if chosen.certificates is not None:
        certificate, key, authority = (str(chosen.certificates / each) for each in CERTIFICATES)
        settings["tls"] = docker.tls.TLSConfig(
            client_cert=(certificate, key), ca_cert=authority, verify=chosen.verify
        )
    return docker.APIClient(version="auto", base_url=chosen.url, **settings)


def _reason(exc: Exception) -> str:
    """What the engine said, else the innermost cause: those between are layers of libraries."""
    inner: BaseException | None = exc
    text = str(exc)
    while inner is not None:
        said = getattr(inner, "explanation", None)
        if said:
            return str(said)
        text = str(inner) or text
        inner = inner.__cause__ or inner.__context__
    return text


def engine(run: Run) -> DockerEngine:
    """The engine of a run, new or existing."""
    return DockerEngine(run)


def unbuilt(wanted: Collection[str]) -> list[str]:
    """Those whose tag, a hash of everything in them, the engine does not have."""
    tags = images.tags()
    with _client(timeout=ANSWER_TIMEOUT_S) as client:
        return sorted(name for name in wanted if not client.images(name=tags[name], quiet=True))


def remains() -> list[Remains]:
    """Containers of this user's runs, by their labels."""
    if unfit() is not None:
        return []
    with _client(timeout=ANSWER_TIMEOUT_S) as client:
        containers = client.containers(all=True, filters={"label": LABEL_RUN})
    runs: dict[str, tuple[Owner | None, list[str]]] = {}
    for container in containers:
        try:
            owner = Owner.parse(container["Labels"].get(LABEL_OWNER, ""))
        except ValueError:
            owner = None
        if owner is None or owner.uid == os.getuid():
            _, things = runs.setdefault(container["Labels"][LABEL_RUN], (owner, []))
            things.append(f"container {container['Names'][0].lstrip('/')}")
    return [
        Remains(run_id=run_id, owner=owner, things=tuple(sorted(things)))
        for run_id, (owner, things) in sorted(runs.items())
    ]


class DockerEngine:
    """One run's containers."""

    name = "docker"

    def __init__(self, run: Run) -> None:
        self.run = run
        self._client = _client(timeout=ANSWER_TIMEOUT_S, max_pool_size=THREADS)
        self._tags = images.tags()
        self._starts = Starts(run)

    def prepare(self, told: Callable[[str], None], wanted: Collection[str] = ()) -> None:
        """Build the images, those wanted or all, that are missing or out of date."""
        with self._mapped("build images"), _client(timeout=PROBE_TIMEOUT_S) as probe:
            images.build_missing(DockerImages(self._client, probe, FOREIGN_FAILURES), told, wanted)

    def start(self, members: Sequence[Member]) -> None:
        """Start containers: the owners of namespaces together, then those that share one."""
        owners = {namespace: name for name, namespace in self._namespaces().items()}
        first = []
        for member in members:
            if member.namespace not in owners:
                owners[member.namespace] = member.name
                first.append(member)
        rest = [member for member in members if member not in first]
        with ThreadPoolExecutor(THREADS, thread_name_prefix="container") as pool:
            for wave in (first, rest):
                list(pool.map(lambda member: self._start(member, owners[member.namespace]), wave))

    def stop(self, members: Collection[str]) -> None:
        """Remove containers with their processes, those that own a namespace last; logs are kept in files."""
        with self._mapped(f"stop {', '.join(members)}"), ThreadPoolExecutor(THREADS) as pool:
            owners = self._namespaces()
            namespaces = owners | {
                container["Labels"][LABEL_MEMBER]: container["Labels"][LABEL_NAMESPACE]
                for container in self._list()
            }
            stops.check(self.run.id, members, namespaces)
            for wave in (set(members) - set(owners), set(members) & set(owners)):
                list(pool.map(self._stop, wave))

    def _stop(self, member: str) -> None:
        # killed first, so that its last words are in what is kept
        self.kill(member, signal.SIGKILL)
        self._client.wait(self._container(member))
        kept = self._kept(member)
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        with kept.open("ab") as file:
            file.write(self._client.logs(self._container(member)))
        self._client.remove_container(self._container(member), force=True, v=True)

    def _kept(self, member: str) -> Path:
        """What containers of that name that are gone have written."""
        return self.run.directory / "logs" / f"{member}.log"

    def files_of(self, member: Member) -> str:
        """The image's tag, a hash of everything in it."""
        return self._tags[member.image]

    def namespace_path(self, namespace: str) -> str:
        """The namespace of its owner's process, as the agent (with the host's pids) sees it."""
        owner = next((name for name, ns in self._namespaces().items() if ns == namespace), None)
        if owner is None:
            raise EngineError(f"run {self.run.id} has no namespace {namespace!r}")
        return f"/proc/{self._inspect(owner)['State']['Pid']}/ns/net"

    def execute(
        self, member: str, command: Sequence[str], *, stdin: bytes = b"", interactive: bool = False
    ) -> Completed:
        """Run a command in a member's container, with what rights that container has."""
        if interactive:
            return self._interactive(member, command)
        with self._mapped(f"run {command[0]} in {member}"):
            created = self._client.exec_create(
                self._container(member), list(command), stdin=bool(stdin), user=self._user()
            )
            if stdin:
                stdout, stderr = self._converse(created["Id"], stdin)
            else:
                stdout, stderr = self._client.exec_start(created["Id"], demux=True)
            code = self._client.exec_inspect(created["Id"])["ExitCode"]
        return Completed(returncode=code, stdout=stdout or b"", stderr=stderr or b"")

    def kill(self, member: str, signal: int) -> None:
        """Send a signal to a container's process; one that has ended is left alone."""
        with self._mapped(f"send signal {signal} to {member}"):
            try:
                self._client.kill(self._container(member), signal)
            except docker.errors.APIError as exc:
                if exc.status_code != 409:  # 409: it is not running
                    raise

    def exited(self) -> Mapping[str, int]:
        """Containers that have ended, with their exit codes."""
        with self._mapped("list containers"):
            ended = self._list(status="exited") + self._list(status="dead")
            return {
                name: self._inspect(name)["State"]["ExitCode"]
                for name in (container["Labels"][LABEL_MEMBER] for container in ended)
            }

    def pids(self) -> Mapping[str, int]:
        """Running containers -> pid of their process."""
        with self._mapped("list containers"):
            running = [container["Labels"][LABEL_MEMBER] for container in self._list(status="running")]
            with ThreadPoolExecutor(THREADS) as pool:
                return dict(
                    zip(running, pool.map(lambda n: self._inspect(n)["State"]["Pid"], running), strict=True)
                )

    def logs(self, member: str) -> str:
        """What the container wrote, after what earlier ones of its name did."""
        before = self._kept(member).read_bytes() if self._kept(member).exists() else b""
        with self._mapped(f"read the log of {member}"):
            written = bytes(self._client.logs(self._container(member)))
        return (before + written).decode(errors="replace")

    def detach(self) -> None:
        """Containers need nothing to outlive this process."""

    def close(self) -> None:
        """Close the connections to the engine; they open again when needed."""
        self._client.close()

    def remove(self) -> None:
        """Remove the run's containers, and those that the engine was still making."""
        self._starts.end()
        with self._mapped("remove containers"), ThreadPoolExecutor(THREADS) as pool:
            for attempt in range(REMOVE_ATTEMPTS):
                time.sleep(REMOVE_PAUSE_S if attempt > 1 else 0)
                left = [container["Id"] for container in self._list()]
                if not left:
                    break
                list(pool.map(self._remove, left))
            left = [container["Names"][0].lstrip("/") for container in self._list()]
        if left:
            raise Leftovers(
                f"run {self.run.id}: containers are still there; try: docker rm -f {' '.join(left)}"
            )

    def _remove(self, container: str) -> None:
        try:
            self._client.remove_container(container, force=True, v=True)
        except docker.errors.APIError as exc:
            if exc.status_code not in {404, 409}:  # gone, or going
                raise

    def _start(self, member: Member, owner: str) -> None:
        with self._starts.one(), self._mapped(f"start {member.name}"):
            created = self._client.create_container_from_config(
                self._config(member, owner), name=self._container(member.name)
            )
            self._client.start(created["Id"])

    def _config(self, member: Member, owner: str) -> dict[str, Any]:
        owns = owner == member.name
        security = ["no-new-privileges", UNLABELLED]
        if member.host_pids:
            security.append("apparmor=unconfined")
        host = self._client.create_host_config(
            network_mode="none" if owns else f"container:{self._container(owner)}",
            pid_mode="host" if member.host_pids else None,
            cap_drop=["ALL"],
            cap_add=sorted(member.capabilities) + self._become_capabilities(member),
            security_opt=security,
            sysctls=dict(member.sysctls) if owns else None,
            cpuset_cpus=",".join(map(str, member.cpus)) or None,
            read_only=True,
            tmpfs={"/run": "rw,nosuid,nodev,mode=1777", "/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108  # the container's own
            binds=[
                f"{mount.path}:{mount.path}:{'rw' if mount.writable else 'ro'}" for mount in member.mounts
            ],
        )
        if member.host_pids:
            # The agent writes sysctls under /proc/sys, which Docker and its AppArmor profile make read-only;
            # this is what the command line calls systempaths=unconfined.
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
        config: dict[str, Any] = self._client.create_container_config(
            self._tags[member.image],
            [*self._become(member), *member.command],
            environment={**member.env, RUN_VARIABLE: self.run.id},
            user=None if member.capabilities else self._user(),
            host_config=host,
            labels={
                LABEL_RUN: self.run.id,
                LABEL_OWNER: str(self.run.owner),
                LABEL_ROLE: member.role.value,
                LABEL_MEMBER: member.name,
                LABEL_NAMESPACE: member.namespace,
            },
        )
        return config

    def _user(self) -> str:
        """Who members run as: whoever owns the run's folder, so that both sides can use its sockets."""
        return f"{os.getuid()}:{os.getgid()}"

    def _become(self, member: Member) -> list[str]:
        """How a member with capabilities becomes this user and keeps them: engines give them to root."""
        if os.getuid() == 0 or not member.capabilities:
            return []
        kept = ",".join(f"+{name.lower()}" for name in member.capabilities)
        ids = [f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--clear-groups"]
        return ["setpriv", *ids, f"--inh-caps=-all,{kept}", f"--ambient-caps=-all,{kept}", "--"]

    def _become_capabilities(self, member: Member) -> list[str]:
        return ["SETGID", "SETUID", "SETPCAP"] if self._become(member) else []

    def _container(self, member: str) -> str:
        return f"ambientbench-{self.run.id}-{member}"

    def _list(self, **filters: str) -> list[dict[str, Any]]:
        wanted = {"label": f"{LABEL_RUN}={self.run.id}", **filters}
        found: list[dict[str, Any]] = self._client.containers(all=True, filters=wanted)
        return found

    def _namespaces(self) -> dict[str, str]:
        """Members that own a namespace -> its name, from the labels."""
        return {
            container["Labels"][LABEL_MEMBER]: container["Labels"][LABEL_NAMESPACE]
            for container in self._list()
            if container["HostConfig"]["NetworkMode"] == "none"
        }

    def _inspect(self, member: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.inspect_container(self._container(member))
        return found

    def _converse(self, identifier: str, stdin: bytes) -> tuple[bytes, bytes]:
        """Send all of `stdin` to a command and collect its two outputs."""
        stream = self._client.exec_start(identifier, socket=True)
        raw = getattr(stream, "_sock", stream)
        raw.sendall(stdin)
        raw.shutdown(1)  # SHUT_WR: end of input
        outputs = {1: b"", 2: b""}
        for number, chunk in frames_iter(stream, tty=False):
            outputs[number] += chunk
        stream.close()
        raw.close()
        return outputs[1], outputs[2]

    def _interactive(self, member: str, command: Sequence[str]) -> Completed:
        """Hand the terminal to docker's own client, which knows how to, and which means the same engine."""
        if shutil.which("docker") is None:
            raise EngineError("an interactive command needs the docker command line; it is not installed")
        terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        arguments = ["docker", "exec", "--interactive", *terminal, "--user", self._user()]
        settings = endpoint().environment(os.environ)
        done = subprocess.run([*arguments, self._container(member), *command], check=False, env=settings)
        return Completed(returncode=done.returncode, stdout=b"", stderr=b"")

    @contextmanager
    def _mapped(self, attempt: str) -> Iterator[None]:
        """Say what was attempted when the engine or the way to it fails."""
        try:
            yield
        except FOREIGN_FAILURES as exc:
            lost = isinstance(exc, requests.exceptions.ConnectionError)
            hint = "; the Docker engine may have been restarted" if lost else ""
            raise EngineError(f"docker: {attempt} (run {self.run.id}): {_reason(exc)}{hint}") from exc
