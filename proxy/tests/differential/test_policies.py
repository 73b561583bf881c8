"""P53: who may connect, by random policies and callers: pyztunnel's `evaluate` and the real ztunnel.

Pods whose policies are drawn, callers in their namespaces, with certificates and without. There are no apps:
a call that is allowed fails when ztunnel dials the app, and that tells it from one that is denied.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.hbone.headers import request_headers
from proxy.hbone.limits import CLIENT_LIMITS
from proxy.identity.contexts import client_context
from proxy.inpod.api import PodInfo
from proxy.net.namespace import Netns, inside
from proxy.rbac import Decision, Facts, evaluate
from proxy.state.document import parse
from proxy.state.mesh import MeshState
from proxy.state.model import authority
from proxy.telemetry import Stats
from proxy.tests.differential.meshes import drawn
from proxy.tests.differential.policies import CALLERS, IDENTITIES, PORTS, Call, Guarded, guarded, own, placed
from proxy.tests.differential.ztunnel import NODE, PATIENCE_S, Ztunnel, called, ztunnel
from proxy.tests.sockets import run
from proxy.tunnel.client import ClientTunnel
from proxy.tunnel.errors import ConnectRefused
from proxy.tunnel.tunnel import Timing

pytestmark = pytest.mark.netns

PODS = 50
"""Each with policies of its own."""
AT_ONCE = 32
MESH = "istio-system"
EVERYWHERE = {
    "name": "everywhere",
    "namespace": MESH,
    "scope": "Global",
    "action": "Deny",
    "dryRun": False,
    "rules": [[[{"principals": [{"Suffix": "/sa/y"}]}], [{"destinationPorts": [81]}]]],
}
"""For all pods. One that is drawn denies everything too often."""


class Difference(NamedTuple):
    """One that is meant: ztunnel lets a caller in, and we do not."""

    name: str
    policy: dict[str, Any] | None
    """A DENY of the pod's namespace; None: the pod lists one that is not there."""
    reason: str


ANYBODY = Call(version=4, source="10.2.0.1", identity=IDENTITIES[0], port=80)


def deny(**match: list[Any]) -> dict[str, Any]:
    return {"scope": "Namespace", "action": "Deny", "dryRun": False, "rules": [[[match]]]}


MEANT = (
    Difference(
        "a policy that is not there",
        None,
        "ztunnel passes over what it does not know, though it may be a DENY on its way; here it denies",
    ),
    Difference(
        "a glob in a text",
        deny(principals=[{"Exact": "*"}]),
        "a text is no pattern, so that it matches nobody: a DENY without effect is rejected here, and denies",
    ),
    Difference(
        "the scheme in a principal",
        deny(principals=[{"Prefix": "spiffe://"}]),
        "the scheme is taken off before comparing: likewise",
    ),
    Difference(
        "a block of IPv4-mapped addresses",
        deny(sourceIps=["::ffff:10.0.0.0/104"]),
        "ztunnel compares it with the socket's IPv4 address; here it is the IPv4 block that it stands for",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call, and what each makes of it."""

    number: int
    call: Call
    ours: Decision
    theirs: bool
    policies: list[dict[str, Any]]

    def __str__(self) -> str:
        """With the policies, to run it by itself."""
        return f"{self.call}: ours {self.ours}, theirs {self.theirs}\n{json.dumps(self.policies)}"


def workload(number: int, listed: list[str]) -> dict[str, Any]:
    """A pod, alone in its namespace."""
    return {
        "uid": f"c//Pod/ns{number}/pod",
        "name": "pod",
        "namespace": f"ns{number}",
        "serviceAccount": "sa",
        "trustDomain": "cluster.local",
        "workloadIps": [*own(number).values()],
        "protocol": "HBONE",
        "node": NODE,
        "services": {},
        "authorizationPolicies": listed,
    }


def document(pods: list[Guarded]) -> dict[str, Any]:
    """All pods with their policies."""
    made: dict[str, Any] = {"workloads": [], "services": [], "policies": [EVERYWHERE]}
    for number, pod in enumerate(pods):
        placed_here = [
            {**placed(policy, number, f"ns{number}"), "name": f"p{place}"}
            for place, policy in enumerate(pod.policies)
        ]
        listed = [f"ns{number}/{each['name']}" for each in placed_here if each["scope"] == "WorkloadSelector"]
        made["policies"] += placed_here
        made["workloads"].append(workload(number, [*listed, *pod.listed]))
    return made


class Callers:
    """Call the pods of one ztunnel."""

    def __init__(self, real: Ztunnel) -> None:
        self._real = real
        self._contexts: dict[Any, Any] = {}
        self._ports = iter(range(1024, 65536))

    async def call(self, netns: Netns, number: int, call: Call) -> bool:
        """Whether ztunnel lets a call to the pod of that number in."""
        target = own(number)[call.version]
        if call.identity is None:
            return await self._in_plaintext(netns, call, target)
        if call.identity not in self._contexts:
            self._contexts[call.identity] = client_context(self._real.ca.certificate(call.identity))
        destination = ip_address(target)
        tunnel, stream = await ClientTunnel.open(
            (await self._connected(netns, call, (target, 15008)))[0],
            self._contexts[call.identity],
            expected=frozenset({f"spiffe://cluster.local/ns/ns{number}/sa/sa"}),
            headers=request_headers(authority((destination, call.port)), source=(ip_address(call.source), 1)),
            limits=CLIENT_LIMITS,
            timing=Timing(),
            stats=Stats(),
        )
        with pytest.raises(ConnectRefused) as refused:
            await stream.answered()
        tunnel.abort("asked")
        assert refused.value.status in {401, 503}
        return refused.value.status == 503

    async def _in_plaintext(self, netns: Netns, call: Call, target: str) -> bool:
        sock, source = await self._connected(netns, call, (target, call.port))
        with sock, suppress(OSError):
            await asyncio.get_running_loop().sock_recv(sock, 1)
        line = await self._real.line(source)
        denied = "policy rejection" in line["error"]
        assert denied or "Connection refused" in line["error"], line
        return not denied

    async def _connected(self, netns: Netns, call: Call, to: tuple[str, int]) -> tuple[socket.socket, str]:
        """A connection from the caller's address, and that with its port, as ztunnel writes them."""
        port = next(self._ports)
        with inside(netns.fd):
            sock = socket.socket(socket.AF_INET if call.version == 4 else socket.AF_INET6)
        sock.setblocking(False)
        sock.bind((call.source, port))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_connect(sock, to)
        return sock, authority((ip_address(call.source), port))


def test_who_may_connect_is_who_may_connect_to_the_real_ztunnel(program: Path, tmp_path: Path) -> None:
    """P53."""
    pods: list[Guarded] = drawn(guarded, PODS)
    pods += [
        Guarded(policies=[each.policy], calls=[ANYBODY])
        if each.policy is not None
        else Guarded(policies=[], calls=[ANYBODY], listed=["nowhere/none"])
        for each in MEANT
    ]
    made = document(pods)
    state = parse(json.dumps(made).encode(), version=1)
    assert [each.key for each in state.rejections] == [f"ns{PODS + 1}/p0", f"ns{PODS + 2}/p0"]
    cases: list[Case] = []

    async def test(stack: ExitStack) -> None:
        callers = [each for family in CALLERS.values() for each in family]
        namespaces = [stack.enter_context(called(own(number), callers, PORTS)) for number in range(len(pods))]
        info = {
            PodInfo(uid=f"u{number}", name="pod", namespace=f"ns{number}", service_account="sa"): netns
            for number, netns in enumerate(namespaces)
        }
        async with ztunnel(program, tmp_path, made, info) as real:
            read = real.config_dump()["policies"]
            theirs = {f"{each['namespace']}/{each['name']}" for each in read}
            assert {*state.policies, *(each.key for each in state.rejections)} == theirs
            asking, turns = Callers(real), asyncio.Semaphore(AT_ONCE)

            async def call_all(number: int) -> None:
                async with turns:
                    for call in pods[number].calls:
                        theirs = await asking.call(namespaces[number], number, call)
                        cases.append(
                            Case(
                                number=number,
                                call=call,
                                ours=decided(state, number, call),
                                theirs=theirs,
                                policies=[
                                    each
                                    for each in made["policies"]
                                    if each["namespace"] in {f"ns{number}", MESH}
                                ],
                            )
                        )

            async with asyncio.TaskGroup() as tasks:
                for number in range(len(pods)):
                    tasks.create_task(call_all(number), name=f"pod {number}")

    with ExitStack() as stack:
        run(test(stack))
    settle(cases)


def decided(state: MeshState, number: int, call: Call) -> Decision:
    """What we say."""
    pod = state.workloads[f"c//Pod/ns{number}/pod"]
    target = ip_address(own(number)[call.version])
    return evaluate(state.policies_for(pod), Facts(ip_address(call.source), call.identity, target, call.port))


def settle(cases: list[Case]) -> None:
    """Count, and fail with the first difference that is not meant, or a meant one that is none."""
    drawn_cases = [case for case in cases if case.number < PODS]
    counts = Counter(
        f"{'HBONE' if case.call.identity else 'plaintext'} {'allowed' if case.theirs else 'denied'}, "
        f"as we say: {case.ours.reason.partition(':')[0]}"
        for case in drawn_cases
    )
    print(f"\n{PODS} sets of policies, {len(drawn_cases)} calls, {len(MEANT)} meant differences")  # noqa: T201
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")  # noqa: T201
    meant = {case.number - PODS: (case.theirs, case.ours.allowed) for case in cases if case.number >= PODS}
    assert meant == dict.fromkeys(range(len(MEANT)), (True, False))
    different = [case for case in drawn_cases if case.ours.allowed is not case.theirs]
    assert not different, f"{len(different)} differences; the first: {different[0]}"
