"""P52: where connections go in random meshes: pyztunnel's `route` and the real ztunnel.

Each mesh stands on addresses of its own, so that one ztunnel reads hundreds of them at its start.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from proxy.config import SameNode
from proxy.inpod.api import PodInfo
from proxy.net.namespace import Netns, inside
from proxy.routing import Hbone, Plaintext, Route, route
from proxy.state.document import parse
from proxy.state.mesh import MeshState
from proxy.state.model import Health, HealthPolicy, SocketAddress, Workload, authority
from proxy.tests.differential.meshes import NAMESPACES, Dial, Document, Mesh, address, drawn, meshes
from proxy.tests.differential.ztunnel import NODE, PATIENCE_S, Ztunnel, caller, ztunnel
from proxy.tests.sockets import run

pytestmark = pytest.mark.netns

MESHES = 200
AT_ONCE = 32
"""Connections."""
TIMES = 3
"""Each is dialled at least; where several endpoints may have it, until all have had it."""
ENOUGH = 60
"""Times, after which an endpoint of two that was never chosen never will be."""


class Way(NamedTuple):
    """Where a connection goes; all empty where it is refused."""

    to: str = ""
    """Address and port of the next hop."""
    authority: str = ""
    """Of the CONNECT, where there is one."""
    workload: str = ""
    identity: str = ""
    """That must be proved there, where it must."""


REFUSED = Way()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One connection in one mesh, and what each makes of it."""

    mesh: Mesh
    number: int
    dial: Dial
    ours: frozenset[Way]
    theirs: frozenset[Way]
    state: MeshState

    @property
    def target(self) -> SocketAddress:
        return ip_address(address(self.number, self.dial.spot)), self.dial.port

    def __str__(self) -> str:
        """The whole mesh, to run it by itself."""
        document = json.dumps(self.mesh.placed(self.number))
        return f"{self.dial} to {authority(self.target)}: ours {self.ours}, theirs {self.theirs}\n{document}"


NOWHERE: frozenset[Way] = frozenset()


def _both_and_no_endpoint(case: Case) -> frozenset[Way]:
    """The address is a workload's and a service's, and the service has no endpoint for the port."""
    host, _ = case.target
    both = (
        case.state.workload_at(host) is not None
        and case.state.service_at(host, namespace=case.dial.namespace) is not None
    )
    return frozenset({Way(to=authority(case.target))}) if both and case.ours == {REFUSED} else NOWHERE


def _an_endpoint_that_cannot_be_reached(case: Case) -> frozenset[Way]:
    """The service restricts families, and some that it chooses among have no such address."""
    service = case.state.service_at(case.target[0], namespace=case.dial.namespace)
    lacking = service is not None and any(
        endpoint.workload.addresses and not any(map(service.uses, endpoint.workload.addresses))
        for endpoint in case.state.endpoints(service)
    )
    return frozenset({REFUSED}) if lacking else NOWHERE


def _port_zero(case: Case) -> frozenset[Way]:
    """An endpoint maps the port to 0; where its service does as well, it is none here, wherever it is."""
    service = case.state.service_at(case.target[0], namespace=case.dial.namespace)
    zero = frozenset(way for way in case.theirs if (way.authority or way.to).endswith(":0"))
    unreachable = (
        service is not None
        and service.ports.get(case.dial.port) == 0
        and any(endpoint.ports.get(case.dial.port) == 0 for endpoint in case.state.endpoints(service))
    )
    return zero | {REFUSED} if unreachable else zero


class Difference(NamedTuple):
    """One that is meant."""

    name: str
    theirs: Callable[[Case], frozenset[Way]]
    """Where ztunnel may go in a case, and we do not."""
    reason: str


MEANT = (
    Difference(
        "an address of both, without endpoints",
        _both_and_no_endpoint,
        "ztunnel looks twice: the first time the workload comes first, the second time the service, and what "
        "neither look serves passes in plaintext, past the workload's HBONE; here it has no healthy upstream",
    ),
    Difference(
        "families that an endpoint lacks",
        _an_endpoint_that_cannot_be_reached,
        "ztunnel chooses first and then finds no address, so that a share of the connections fails; here "
        "such an endpoint is not chosen",
    ),
    Difference(
        "port 0 of an endpoint",
        _port_zero,
        "0 is the wire's word for no port of its own: ztunnel dials port 0; here the service's port is "
        "taken, and where that is 0 as well it is no endpoint",
    ),
)


class App:
    """Dials from a pod, from another port each time: of two alike NAT would change one."""

    def __init__(self, netns: Netns, addresses: list[str]) -> None:
        self._netns = netns
        self._addresses = {ip_address(each).version: each for each in addresses}
        self._ports = iter(range(1024, 65536))

    async def dial(self, target: SocketAddress) -> str:
        """Connect, wait for the end; the own address and port, as ztunnel writes them."""
        host, port = target
        mine = self._addresses[host.version], next(self._ports)
        loop = asyncio.get_running_loop()
        with inside(self._netns.fd):
            sock = socket.socket(socket.AF_INET if host.version == 4 else socket.AF_INET6)
        with sock:
            sock.setblocking(False)
            sock.bind(mine)
            async with asyncio.timeout(PATIENCE_S):
                await loop.sock_connect(sock, (str(host), port))
                with suppress(OSError):  # reset: that is an end as well
                    await loop.sock_recv(sock, 1)
        return authority((ip_address(mine[0]), mine[1]))


def as_logged(line: Mapping[str, Any]) -> Way:
    """Where ztunnel went, by its access line; it could not, as nobody is there."""
    if line["message"] == "connection failed":
        return REFUSED
    assert "os error 113" in line["error"], line  # EHOSTUNREACH: it got as far as to dial
    named = ("dst.hbone_addr", "dst.workload", "dst.identity")
    return Way(line["dst.addr"], *(line.get(name, "") for name in named))


def as_routed(found: Route) -> Way:
    match found:
        case Hbone():
            (identity,) = found.expected_ids
            return Way(authority(found.gateway), found.authority, found.workload.name, identity)
        case Plaintext():
            name = found.workload.name if found.workload is not None else ""
            return Way(authority(found.address), "", name)
        case _:
            return REFUSED


def ours(state: MeshState, source: Workload, target: SocketAddress) -> frozenset[Way]:
    """All that `route` may answer."""
    answers = (
        route(state, source, target, random=Random(seed), same_node=SameNode.HBONE) for seed in range(ENOUGH)
    )
    return frozenset(map(as_routed, answers))


def whole(placed: list[Document], sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All meshes in one document."""
    return {
        "workloads": [*sources.values(), *(each for mesh in placed for each in mesh["workloads"])],
        "services": [each for mesh in placed for each in mesh["services"]],
        "policies": [],
    }


def client(namespace: str, number: int) -> dict[str, Any]:
    """Whose app dials."""
    return {
        "uid": f"c//Pod/{namespace}/client",
        "name": "client",
        "namespace": namespace,
        "serviceAccount": "sa",
        "trustDomain": "cluster.local",
        "workloadIps": [f"172.16.0.{number}", f"fdff::{number}"],
        "protocol": "HBONE",
        "node": NODE,
        "clusterId": "Kubernetes",
        "locality": {"region": "r1", "zone": "z1", "subzone": ""},
        "services": {},
    }


def test_connections_go_where_the_real_ztunnels_go(program: Path, tmp_path: Path) -> None:
    """P52."""
    drawn_meshes: list[Mesh] = drawn(meshes(), MESHES)
    placed = [mesh.placed(number) for number, mesh in enumerate(drawn_meshes)]
    clients = {each: client(each, number) for number, each in enumerate(NAMESPACES[:2], start=1)}
    document = whole(placed, clients)
    state = parse(json.dumps(document).encode(), version=1)
    assert state.rejections == ()

    cases: list[Case] = []

    async def test(stack: ExitStack) -> None:
        pods = {each: stack.enter_context(caller(*made["workloadIps"])) for each, made in clients.items()}
        info = {
            PodInfo(uid=each, name="client", namespace=each, service_account="sa"): netns
            for each, netns in pods.items()
        }
        async with ztunnel(program, tmp_path, document, info) as real:
            assert_read_alike(state, real.config_dump())
            apps = {each: App(pods[each], clients[each]["workloadIps"]) for each in pods}
            turns = asyncio.Semaphore(AT_ONCE)

            async def dial_all(number: int, mesh: Mesh) -> None:
                async with turns:
                    for dial in mesh.dials:
                        app = apps[dial.namespace]
                        cases.append(await compare(real, app, state, mesh=mesh, number=number, dial=dial))

            async with asyncio.TaskGroup() as tasks:
                for number, mesh in enumerate(drawn_meshes):
                    tasks.create_task(dial_all(number, mesh), name=f"mesh {number}")

    with ExitStack() as stack:
        run(test(stack))
    settle(cases)


async def compare(real: Ztunnel, app: App, state: MeshState, *, mesh: Mesh, number: int, dial: Dial) -> Case:
    """Ask both."""
    source = state.workloads[f"c//Pod/{dial.namespace}/client"]
    target = ip_address(address(number, dial.spot)), dial.port
    expected = ours(state, source, target)
    found: set[Way] = set()
    for count in range(ENOUGH):
        if count >= TIMES and (found >= expected or len(expected) == 1):
            break
        found.add(as_logged(await real.line(await app.dial(target))))
    return Case(mesh=mesh, number=number, dial=dial, ours=expected, theirs=frozenset(found), state=state)


def meant(case: Case) -> list[str]:
    """The differences that explain where ztunnel goes; none where one way of it is left."""
    excused = {each.name: each.theirs(case) & case.theirs - case.ours for each in MEANT}
    rest = case.theirs - case.ours - frozenset().union(*excused.values())
    return [] if rest else [name for name, ways in excused.items() if ways]


def settle(cases: list[Case]) -> None:
    """Count, and fail with the first difference that nobody meant."""
    counts: Counter[str] = Counter()
    unexplained = []
    for case in cases:
        if case.ours == case.theirs:
            kinds = {"hbone" if way.authority else "plaintext" if way.to else "refused" for way in case.ours}
            counts[
                "alike: " + " or ".join(sorted(kinds)) + (" of several" if len(case.ours) > 1 else "")
            ] += 1
        elif names := meant(case):
            counts["meant: " + " and ".join(names)] += 1
        else:
            unexplained.append(case)
    print(f"\n{len({case.number for case in cases})} meshes, {len(cases)} connections")  # noqa: T201
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")  # noqa: T201
    assert not unexplained, f"{len(unexplained)} differences; the first: {unexplained[0]}"


def assert_read_alike(state: MeshState, dump: dict[str, Any]) -> None:
    """The config dump has what we read: workloads, services, their addresses and their endpoints."""
    assert {each["uid"] for each in dump["workloads"]} == state.workloads.keys()
    theirs = {f"{each['namespace']}/{each['hostname']}": each for each in dump["services"]}
    assert theirs.keys() == state.services.keys()
    for key, service in state.services.items():
        read = theirs[key]
        assert {int(port): target for port, target in read["ports"].items()} == service.ports
        assert {f"{network}/{vip}" for network, vip in service.vips} == set(read["vips"])
        assert (service.canonical, service.visibility.value) == (read["canonical"], read["visibility"])
        anyone = service.balancer.health is HealthPolicy.ALLOW_ALL
        fit = {
            endpoint.workload.uid
            for endpoint in state.endpoints(service)
            if anyone or endpoint.workload.status is Health.HEALTHY
        }
        assert fit == read["endpoints"].keys()
