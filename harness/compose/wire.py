"""Wire the containers of a compose file: `python3 -m harness.compose.wire [--interception LEVEL]`.

Runs once in a container that sees the host's processes. A container that owns a network namespace
says which one in its environment, and so its process is found. Then each agent is told the same as
by the harness: links, rules, enrolment. Run again, it switches the level.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from harness.control import Channel, ControlError
from harness.plan.model import Interception
from harness.topology.document import from_json
from harness.topology.layout import Layout
from harness.topology.model import Topology

NAMESPACE_ENV = "AMBIENTBENCH_NAMESPACE"
"""Set in the containers that own a network namespace."""
LANE = 1
"""The one lane of a compose file."""
DEADLINE_S = 30.0
PAUSE_S = 0.05
PROC = Path("/proc")


class CannotWire(Exception):
    """A container is missing, or two claim to be the same."""


def main() -> None:
    """Wire, say what was done, exit; exit code 1 and one line when something is missing."""
    parser = argparse.ArgumentParser(prog="harness.compose.wire", description=__doc__)
    parser.add_argument("--rundir", type=Path, required=True)
    levels = [level.value for level in Interception]
    parser.add_argument("--interception", choices=levels, default=Interception.REDIRECT.value)
    arguments = parser.parse_args()
    try:
        wire(Layout(arguments.rundir), arguments.interception, told=lambda line: print(line, flush=True))  # noqa: T201
    except (CannotWire, ControlError) as exc:
        sys.exit(f"wire: {exc}")


def wire(layout: Layout, interception: str, *, told: Callable[[str], None]) -> None:
    """Tell every agent what to make.

    Raises:
        CannotWire: Not all containers run within the deadline.
        ControlError: An agent refused or does not answer.
    """
    topology = from_json(layout.topology.read_text())
    paths = find(namespaces(topology), deadline_s=DEADLINE_S)
    captured = [pod for pod in topology.pods if pod.captured]
    for first, node in enumerate(topology.nodes):
        with Channel(layout.agent(node.name), connect_timeout_s=DEADLINE_S) as agent:
            agent.call("setup", namespaces=paths, topology=str(layout.topology), underlay=first == 0)
            applied = agent.call("capture", lane=LANE, interception=interception, filler_rules=0).document
            pods = [pod.name for pod in captured if pod.node == node.name]
            for pod in pods:
                agent.call("enrol", lane=LANE, pod=pod)
        told(f"node {node.name}: {interception} by {applied['applier']}, enrolled {', '.join(pods)}")


def namespaces(topology: Topology) -> set[str]:
    """The namespaces that agents work in."""
    members = {pod.netns for pod in topology.pods} | {host.netns for host in topology.hosts}
    return {"underlay"} | {node.netns for node in topology.nodes} | members


def find(wanted: Collection[str], *, deadline_s: float, proc: Path = PROC) -> dict[str, str]:
    """Namespace -> /proc/PID/ns/net of a process in it, as soon as all are there.

    Raises:
        CannotWire: Some are missing at the deadline, or one name stands for two namespaces.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        found = _owners(proc)
        ambiguous = sorted(name for name in wanted if len(found.get(name, {})) > 1)
        if ambiguous:
            raise CannotWire(
                f"two containers claim {', '.join(ambiguous)}: another project of this compose file is up; "
                "take one of them down"
            )
        missing = sorted(set(wanted) - set(found))
        if not missing:
            return {name: next(iter(found[name].values())) for name in wanted}
        if time.monotonic() > deadline:
            raise CannotWire(f"no container for {', '.join(missing)} within {deadline_s:g} s")
        time.sleep(PAUSE_S)


def _owners(proc: Path) -> dict[str, dict[str, str]]:
    """Name -> namespace's identity -> path, from every process that names one."""
    prefix = f"{NAMESPACE_ENV}=".encode()
    found: dict[str, dict[str, str]] = {}
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        path = process / "ns/net"
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            named = [value[len(prefix) :].decode() for value in environment if value.startswith(prefix)]
            if named:
                found.setdefault(named[0], {})[str(path.readlink())] = str(path)
        except OSError:  # it has ended, or is not ours to look at
            continue
    return found


if __name__ == "__main__":
    main()
