"""A thousand live connections, ten thousand rules, and one of them that denies the thousand from now on."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from proxy.net.sockets import socket_in
from proxy.tests.apps import app, pings
from proxy.tests.bed import CLIENT, SERVER, Bed, bed_in, workload

pytestmark = pytest.mark.netns

CONNECTIONS = 1000
RULES = 10_000
DENIED, ALLOWED = 8080, 8081


def deny(number: int, port: int, account: str) -> dict[str, Any]:
    principals = [{"Exact": f"cluster.local/ns/bench/sa/{account}"}]
    return {
        "name": f"deny-{number:05}",
        "namespace": "bench",
        "scope": "Namespace",
        "action": "Deny",
        "rules": [[[{"principals": principals, "destinationPorts": [port]}]]],
        "dryRun": False,
    }


def put(bed: Bed, *more: dict[str, Any]) -> None:
    others = [deny(number, DENIED, f"other-{number}") for number in range(RULES - len(more))]
    new = bed.folder / "mesh.new"
    workloads = [workload("client", CLIENT, "a"), workload("server", SERVER, "b")]
    new.write_text(json.dumps({"workloads": workloads, "services": [], "policies": [*others, *more]}))
    new.replace(bed.folder / "mesh.json")


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the pings that were due in a window, ms."""

    p50: float
    p99: float


def latency(found: list[tuple[float, float]], since: float, until: float) -> Latency:
    taken = sorted(1000 * taken_s for due_s, taken_s in found if since <= due_s < until)
    return Latency(*(taken[len(taken) * percent // 100] for percent in (50, 99)))


def opened(bed: Bed, stack: ExitStack) -> list[socket.socket]:
    """Connections that have carried a byte each way."""
    made = []
    for _ in range(CONNECTIONS):
        sock = stack.enter_context(socket_in(bed.client.fd, socket.AF_INET))
        sock.settimeout(20)
        sock.connect((SERVER, DENIED))
        sock.sendall(b"x")
        made.append(sock)
    for sock in made:
        assert sock.recv(1) == b"x"
    return made


def was_reset(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) is None
    except ConnectionResetError:
        return True


def test_a_thousand_are_cut_while_a_neighbour_hardly_notices(tmp_path: Path) -> None:
    """T55, F45."""

    def story(bed: Bed) -> tuple[float, Latency, Latency]:
        with ExitStack() as stack:
            stack.enter_context(app(bed.server, "answer", str(DENIED)))
            stack.enter_context(app(bed.server, "echo", str(ALLOWED)))
            connections = opened(bed, stack)
            neighbour = stack.enter_context(app(bed.client, "ping", SERVER, str(ALLOWED)))
            began = monotonic()
            assert select.select(connections[:1], [], [], 3)[0] == []  # nothing happens to them
            changed = monotonic()
            put(bed, deny(RULES, DENIED, "client"))
            assert all(map(was_reset, connections))
            ended = monotonic()
            found = pings(neighbour)
        return ended - changed, latency(found, began, changed), latency(found, changed, ended)

    async def run() -> None:
        async with bed_in(tmp_path) as bed:
            put(bed)
            await bed.b.log_has("mesh state in force version=2")
            cut_s, before, during = await asyncio.to_thread(story, bed)
        sys.stdout.write(
            f"cut {CONNECTIONS} under {RULES} rules in {cut_s:.2f} s, reading them included; "
            f"a neighbour's p99 {before.p99:.2f} ms before, {during.p99:.2f} ms meanwhile\n"
        )
        # What no loaded machine excuses. Before documents were read beside the traffic, all pings of
        # the time that it took came late, by up to 1.5 s; one stall by somebody else is not ours.
        assert cut_s < 5
        assert during.p50 < 50 + 10 * before.p99

    asyncio.run(run())
