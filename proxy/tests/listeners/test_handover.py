"""A second proxy beside the first takes over while the first drains, under load, with the kernel's queues."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.inpod.api import PodInfo
from proxy.tests.listeners.cluster import Cluster, cluster
from proxy.tests.listeners.talk import echo, greeted
from proxy.tests.namespaces import run_in
from proxy.tests.sockets import receive_all, run, send

pytestmark = pytest.mark.netns

HAND_OVERS = 40
CALLERS = 8


async def hand_over(c: Cluster, name: str) -> None:
    """Other listeners in the pod's namespace, then the drain of those that were there."""
    before = c.nodes[name].pods[name]
    info = PodInfo(uid=name, name=name, namespace="ns", service_account=name)
    c.nodes[name].pods[name] = c.nodes[name].listeners.start(info, c.namespaces[name])
    await before.drain(20)


def test_forty_hand_overs_under_load_fail_no_connection() -> None:
    """F04: a listener that closes leaves its queue to its successor (net.ipv4.tcp_migrate_req).

    The agent sets it in every pod (harness/agent/sysctls.py); without it the kernel resets what
    waits to be accepted: kernel.md 4, 240 of 31,534 connections.
    """

    async def test() -> None:
        done = 0
        failed: list[str] = []

        async def call(c: Cluster) -> None:
            nonlocal done
            while not over.is_set():
                try:
                    with await c.dial("client", "server") as sock:
                        await greeted(sock)
                        await send(sock, b"x")
                        sock.shutdown(socket.SHUT_WR)
                        assert await receive_all(sock) == b"x"
                except (OSError, AssertionError) as exc:
                    failed.append(repr(exc))
                done += 1

        over = asyncio.Event()
        async with cluster() as c:
            for name in c.nodes:
                run_in(c.namespaces[name], "sysctl", "-qw", "net.ipv4.tcp_migrate_req=1")
            await c.listen("server", echo)
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(call(c))
                for number in range(HAND_OVERS):
                    # some connections through each pair of proxies, then the other pod's turn
                    enough = done + CALLERS
                    await hand_over(c, ("client", "server")[number % 2])
                    while done < enough:  # noqa: ASYNC110  a plain counter
                        await asyncio.sleep(0)
                over.set()

        assert failed == []
        assert done >= HAND_OVERS * CALLERS

    run(test())
