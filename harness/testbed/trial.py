"""A testbed of one member of each kind, that says what works: the code that a run uses, where a run uses it.

Members start as a testbed's do, with their images, capabilities, namespaces and folders. The agent's
tries the kernel (`harness.agent.features`), the proxy's opens a socket as the proxy does, the backend's is
the backend itself, the others load what they are made of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.backends.nginx import Counters
from harness.dataplanes import pyztunnel
from harness.engines import choice
from harness.engines.api import Engine, Member, Mount, Role
from harness.engines.choice import Choice
from harness.errors import EnvironmentUnfit, RunFailed
from harness.testbed.members import AGENT_CAPABILITIES, forwarded
from harness.testbed.rundir import RunDir

NAME = "trial"
TIMEOUT_S = 30.0
"""The slowest member takes 2 s on an idle core."""
LOOK_S = 0.05
LOG_LINES = 3

AGENT, PROXY, BACKEND, LOAD, CONTROLPLANE = "agent", "proxy", "backend", "load generator", "control plane"
FOLDER, START = "run folder", "members"
"""What tells whether members can be started at all."""

PROXY_PROGRAM = """
import json, socket, sys
import proxy.main
from proxy.net import options
with socket.socket() as opened:
    options.mark(opened, 0x539)
    options.disguise(opened)
    opened.bind(("192.0.2.1", 0))
with open(sys.argv[1], "w") as file:
    json.dump({"proxy": {"error": None, "found": "works"}}, file)
"""
"""A socket under another's address, as on the way to an app. 192.0.2.1 is nobody's (RFC 5737)."""
LOADING = """
import importlib, json, sys
for name in sys.argv[3:]:
    importlib.import_module(name)
with open(sys.argv[1], "w") as file:
    json.dump({sys.argv[2]: {"error": None, "found": "loads"}}, file)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one attempt ended."""

    error: str | None
    """Why it does not work; None where it does."""
    found: str = ""
    doubt: str = ""
    """Why it may be otherwise in a run."""


def results(chosen: Choice) -> Mapping[str, Result]:
    """Try everything: feature -> how it ended.

    What a member would have told is missing where it died before; its own row then says how. Where images
    are not built yet the kernel is tried in namespaces of the host, by the host's programs.
    """
    unbuilt = chosen.module.unbuilt(images())
    if unbuilt:
        return _on_the_host(unbuilt)
    try:
        rundir = RunDir.create(engine=chosen.name, suite=NAME, lanes=())
    except EnvironmentUnfit as exc:
        return {FOLDER: Result(error=str(exc))}
    folder = {FOLDER: Result(error=None, found=str(rundir.path.parent))}
    engine = chosen.module.engine(rundir.run)
    try:
        return folder | _tried(engine, rundir)
    except RunFailed as exc:
        return folder | {START: Result(error=str(exc))}
    finally:
        try:
            engine.remove()
        finally:
            engine.close()
            rundir.remove()


def _on_the_host(unbuilt: Sequence[str]) -> dict[str, Result]:
    doubt = f"images that the first bring-up builds: {', '.join(unbuilt)}"
    members = dict.fromkeys((START, AGENT, PROXY, BACKEND, LOAD, CONTROLPLANE), Result(error="", doubt=doubt))
    namespaces = choice.named("netns")
    if namespaces.unfit() is not None:
        return members
    found = results(Choice(name="netns", module=namespaces, reason=doubt))
    return {name: replace(result, doubt=doubt) for name, result in found.items()} | members


def images() -> set[str]:
    """The images that it needs."""
    return {member.image for member in _members(Path("/")).values()}


def _tried(engine: Engine, rundir: RunDir) -> dict[str, Result]:
    members = _members(rundir.path)
    for member in members.values():
        for mount in member.mounts:
            mount.path.mkdir(mode=0o700, parents=True)
    engine.start(list(members.values()))
    found = {START: Result(error=None, found="each starts with its rights and its folder")}
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        ended = engine.exited()
        if BACKEND in members and BACKEND not in found:
            with suppress(OSError):
                Counters.read(members[BACKEND].mounts[0].path)
                found[BACKEND] = Result(error=None, found="nginx answers")
        if all(name in found or member.name in ended for name, member in members.items()):
            break
        time.sleep(LOOK_S)
    for name, member in members.items():
        told = _told(member)
        if told:
            found[name] = Result(error=None, found="runs")
        elif name not in found:
            found[name] = Result(error=_last_words(engine, member))
        found |= told
    return found


def _told(member: Member) -> dict[str, Result]:
    """What a member wrote down; nothing where it did not come that far."""
    with suppress(OSError, ValueError):
        document = json.loads(_file(member.mounts[0].path).read_text())
        return {name: Result(**fields) for name, fields in document.items()}
    return {}


def _last_words(engine: Engine, member: Member) -> str:
    code = engine.exited().get(member.name)
    ended = f"no end within {TIMEOUT_S:g} s" if code is None else f"ended with {code}"
    said = [line for line in engine.logs(member.name).splitlines() if line.strip()]
    return f"{member.name} {ended}: {' | '.join(said[-LOG_LINES:]) or 'without a word'}"


def _file(folder: Path) -> Path:
    return folder / "found.json"


def _members(directory: Path) -> dict[str, Member]:
    def told(name: str) -> tuple[str, Mount]:
        folder = directory / NAME / name
        return str(_file(folder)), Mount(path=folder)

    def loading(name: str, image: str, role: Role, *modules: str) -> Member:
        file, mount = told(image)
        command = ("python3", "-c", LOADING, file, name, *modules)
        return _member(image, role, image, command, mount)

    agent_file, agent_mount = told(AGENT)
    proxy_file, proxy_mount = told(PROXY)
    _, state = told("app")
    backend = ("python3", "-m", "harness.backends", "--pod", NAME, "--node", "", "--state-dir")
    return {
        AGENT: _member(
            "agent",
            Role.AGENT,
            "agent",
            ("python3", "-m", "harness.agent.features", agent_file),
            agent_mount,
            capabilities=AGENT_CAPABILITIES,
            host_pids=True,
            env=forwarded(),
        ),
        PROXY: _member(
            "ztunnel",
            Role.ZTUNNEL,
            "ztunnel",
            ("python3", "-c", PROXY_PROGRAM, proxy_file),
            proxy_mount,
            capabilities=pyztunnel.CAPABILITIES,
        ),
        BACKEND: _member("app", Role.APP, "app", (*backend, str(state.path)), state),
        LOAD: loading(LOAD, "load", Role.LOAD, "harness.load.driver", "harness.load.probe"),
        CONTROLPLANE: loading(
            CONTROLPLANE, "controlplane", Role.CONTROLPLANE, "harness.controlplane.__main__"
        ),
    }


def _member(
    name: str,
    role: Role,
    image: str,
    command: tuple[str, ...],
    mount: Mount,
    *,
    capabilities: Mapping[str, str] | None = None,
    host_pids: bool = False,
    env: Mapping[str, str] | None = None,
) -> Member:
    return Member(
        name=f"{NAME}-{name}",
        role=role,
        node="",
        image=image,
        namespace=f"{NAME}-{name}",
        command=command,
        mounts=(mount,),
        capabilities=capabilities or {},
        host_pids=host_pids,
        env=env or {},
    )
