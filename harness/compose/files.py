"""What `compose/` holds, from the smoke suite's topology. Pure: names and text, nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.compose.wire import LANE, NAMESPACE_ENV
from harness.controlplane.document import document as mesh_document
from harness.engines.api import Member, Mount
from harness.plan.model import Interception
from harness.suite import load_suite
from harness.testbed import members, ready
from harness.testbed.placement import Placement
from harness.topology.allocator import resolve
from harness.topology.document import to_json
from harness.topology.layout import Layout
from harness.topology.model import Topology

SUITE = "smoke"
PLACEMENT = Placement(dataplane="pyztunnel", interception=Interception.REDIRECT)
"""Of its one lane; `wire` writes the rules."""
RUNDIR = Path("/run/ambientbench")
"""Where the run's files are in every container; each folder is a volume of its own."""

WIRE_CAPABILITIES = {"SYS_PTRACE": "find the containers' processes and their namespaces"}
UNLOCK = ("python3", "-m", "harness.compose.unlock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One container, in the words of a compose file."""

    name: str
    image: str
    command: tuple[str, ...]
    network_mode: str
    environment: Mapping[str, str]
    capabilities: Mapping[str, str]
    security: tuple[str, ...]
    volumes: tuple[str, ...]
    host_pids: bool = False
    after: tuple[str, ...] = ()


def files() -> dict[str, str]:
    """Name of each file in `compose/` -> its content."""
    topology = resolve(load_suite(SUITE, []).topology)
    layout = Layout(RUNDIR)
    composed = members.compose(topology, (PLACEMENT,), layout)
    services = [*_services(composed, layout), _wire(composed, topology, layout)]
    client = next(pod for pod in topology.pods if pod.client)
    return {
        "docker-compose.yml": _render(services),
        "topology.json": to_json(topology),
        "mesh/mesh.json": json.dumps(mesh_document(topology), indent=2) + "\n",
        "roundtrips.json": json.dumps(ready.request(topology, client), indent=2) + "\n",
    }


def _services(composed: Sequence[Member], layout: Layout) -> Iterator[Service]:
    owners: dict[str, str] = {}
    for member in composed:
        owner = owners.setdefault(member.namespace, member.name)
        owns = owner == member.name
        naming = {NAMESPACE_ENV: member.namespace} if owns else {}
        yield Service(
            name=member.name,
            image=_image(member.image),
            command=(*UNLOCK, *member.command) if member.host_pids else member.command,
            network_mode="none" if owns else f"service:{owner}",
            environment={**naming, **member.env},
            capabilities=member.capabilities,
            security=_security(host_pids=member.host_pids),
            volumes=tuple(_volume(mount, layout) for mount in member.mounts),
            host_pids=member.host_pids,
        )


def _wire(composed: Sequence[Member], topology: Topology, layout: Layout) -> Service:
    """The service that tells the agents what to make; it ends when they have made it."""
    mounts = [Mount(path=layout.topology, writable=False)]
    mounts += [Mount(path=layout.agent(node.name).parent) for node in topology.nodes]
    return Service(
        name="wire",
        image=_image("agent"),
        command=("python3", "-m", "harness.compose.wire", "--rundir", str(layout.directory)),
        network_mode="none",
        environment={},
        capabilities=WIRE_CAPABILITIES,
        security=_security(host_pids=True),
        volumes=tuple(_volume(mount, layout) for mount in mounts),
        host_pids=True,
        after=tuple(member.name for member in composed),
    )


def _image(name: str) -> str:
    return f"ambientbench/{name}:latest"


def _security(*, host_pids: bool) -> tuple[str, ...]:
    # label=disable: see `harness.engines.docker`
    everybody = ("no-new-privileges", "label=disable")
    return (*everybody, "apparmor=unconfined") if host_pids else everybody


def _volume(mount: Mount, layout: Layout) -> str:
    """Files that are written here are mounted from beside the compose file; all other folders are volumes."""
    written = {layout.topology: "./topology.json", layout.mesh(LANE).parent: "./mesh"}
    source = written.get(mount.path) or _name(mount.path)
    return f"{source}:{mount.path}" + ("" if mount.writable else ":ro")


def _name(folder: Path) -> str:
    return "-".join(folder.relative_to(RUNDIR).parts)


def _render(services: Sequence[Service]) -> str:
    environment = Environment(
        loader=PackageLoader("harness.compose", "."),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701  # YAML, whose strings are quoted as JSON
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    mounted = {volume.split(":")[0] for service in services for volume in service.volumes}
    return environment.get_template("docker-compose.yml.j2").render(
        services=services, volumes=sorted(name for name in mounted if not name.startswith("."))
    )
