"""What the pages cost those who are served beside them."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_address

from proxy.admin import dump, http, pages
from proxy.admin.accept import accept, tcp_listener
from proxy.admin.http import Handler
from proxy.config import Settings
from proxy.rbac import Action, Match, StringKind, StringMatch
from proxy.state.mesh import MeshState
from proxy.telemetry import ConnectionRecord, Direction, Stats, Telemetry, metrics
from proxy.telemetry.exposition import Family, Form
from proxy.tests.listeners.policies import policy
from proxy.tests.mesh import workload
from proxy.tests.scrapes import read, value
from proxy.tests.sockets import run

DESTINATIONS = 3_000
TURN_S = 0.05
"""Of the loop's own computing; it is 1 ms. What a scrape took when it was written at once: 0.5 s."""


def fetched(address: tuple[str, int], path: str) -> bytes:
    """A page's body."""
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(1 << 20), b"")).partition(b"\r\n\r\n")[2]


async def beside(handler: Handler, story: Callable[[tuple[str, int]], Awaitable[None]]) -> float:
    """The longest turn of the loop while the story runs: what its thread computed, whoever else did."""
    longest_s = 0.0

    async def watch() -> None:
        nonlocal longest_s
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest_s, last = max(longest_s, now - last), now

    gc.collect()
    gc.freeze()  # as the proxy does when it is ready: to look at all of a test run's objects takes 0.1 s
    with tcp_listener("127.0.0.1", 0) as listener:
        async with asyncio.TaskGroup() as tasks:
            server = tasks.create_task(accept(listener, http.Server(handler).serve))
            watching = tasks.create_task(watch())
            await story(listener.getsockname())
            watching.cancel()
            server.cancel()
    gc.unfreeze()
    return longest_s


def test_a_scrape_of_thousands_of_destinations_holds_nobody_up() -> None:
    """P09."""
    telemetry, client = Telemetry(Stats()), workload("client", "10.0.0.1")
    for number in range(DESTINATIONS):
        name = f"web-{number}"
        telemetry.opened(
            ConnectionRecord(
                direction=Direction.OUTBOUND,
                source_address=(ip_address("10.0.0.1"), 1),
                source=client,
                destination=workload(name, "10.0.0.2", workload_name=name),
            )
        )

    async def families() -> Iterator[Family]:
        return metrics.families(await metrics.Snapshot.of(telemetry, dict))

    async def story(address: tuple[str, int]) -> None:
        body = await asyncio.to_thread(fetched, address, "/metrics")
        lines = body.decode().splitlines()
        assert sum(line.startswith("istio_tcp_connections_opened_total{") for line in lines) == DESTINATIONS
        few = (line for line in lines if "web-" not in line or 'web-1"' in line)
        samples = read("\n".join(few) + "\n", Form.PROMETHEUS)
        assert value(samples, "istio_tcp_connections_opened_total", destination_workload="web-1") == 1

    async def test() -> None:
        assert await beside(pages.stats(families), story) < TURN_S

    run(test())


def test_a_dump_of_a_large_mesh_holds_nobody_up() -> None:
    """P09: workloads and policies by the thousand."""
    matching = Match(principals=(StringMatch(StringKind.EXACT, "cluster.local/ns/a/sa/b"),))
    state = MeshState(
        workloads=[workload(f"web-{number}", "10.0.0.2") for number in range(DESTINATIONS)],
        policies=[policy(Action.ALLOW, matching, name=f"p{number}") for number in range(DESTINATIONS)],
    )

    def pieces() -> Iterator[str]:
        return dump.pieces(
            dump.Snapshot(settings=Settings(), switches={}, state=state, certificates=(), pods=(), live=())
        )

    async def story(address: tuple[str, int]) -> None:
        found = json.loads(await asyncio.to_thread(fetched, address, "/config_dump"))
        assert len(found["workloads"]) == len(found["policies"]) == DESTINATIONS

    async def test() -> None:
        assert await beside(pages.admin(pieces, asyncio.Event(), ()), story) < TURN_S

    run(test())
