"""P10, T16: the streams of tunnels are connections, and there is a limit to them."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.tests.apps import app
from proxy.tests.bed import SERVER, Bed
from proxy.tests.calls import PATIENCE_S, connect, established, round_trip, story
from proxy.tests.listeners.cluster import cluster
from proxy.tests.listeners.talk import echo, expect_reset, greeted
from proxy.tests.sockets import run, until

pytestmark = pytest.mark.netns


def test_a_stream_over_the_limit_gets_503_and_the_next_has_its_place() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            admission = c.server.context.admission
            admission.total = 3  # the tunnel and two of its streams
            held = [await c.dial("client", "server") for _ in range(2)]
            for sock in held:
                await greeted(sock)
            await expect_reset(await c.dial("client", "server"))
            (refused,) = await c.records(c.client, 1)
            assert refused.error is not None
            assert "503" in refused.error
            (told,) = await c.records(c.server, 1)
            assert told.error == "over the limit of 3 connections"
            assert (admission.live, admission.refused) == (3, 1)
            assert c.server.stats.connects_failed == 1

            held.pop().close()
            await until(lambda: admission.live == 2)
            with await c.dial("client", "server") as sock:
                await greeted(sock)
            held.pop().close()
            await until(lambda: admission.live == 1)

    run(test())


def test_one_source_cannot_take_the_streams_of_all() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            c.server.context.admission.per_source = 2
            with await c.dial("client", "server") as sock:
                await greeted(sock)
                await expect_reset(await c.dial("client", "server"))
            (told, *_) = await c.records(c.server, 1)
            assert told.error == "over the limit of 2 connections from 10.99.0.1"

    run(test())


SCARCE = """
import os, resource
if os.environ.get("NODE_NAME") == "b":
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
"""


def test_a_peer_with_many_streams_leaves_descriptors_for_admin_and_scrapes(tmp_path: Path) -> None:
    """F14: whole processes, the server's with 300 descriptors: 75 connections fit beside its reserve."""
    (tmp_path / "sitecustomize.py").write_text(SCARCE)

    async def tell(bed: Bed) -> None:
        port = 8090
        with (
            app(bed.server, "answer", str(port)),
            established(bed) as (caller, callee),
            ExitStack() as stack,
        ):
            answered = 0
            for _ in range(150):
                sock = stack.enter_context(connect(bed.client, SERVER, port))
                answered += await asyncio.to_thread(_is_answered, sock)
            assert resource.prlimit(bed.b.process.pid, resource.RLIMIT_NOFILE)[0] == 300
            assert 20 < answered < 75
            assert _descriptors(bed.b.process.pid) < 250
            assert (await bed.b.ask("control", "stats"))["connects_failed"] == 150 - answered
            assert "ready" in await bed.b.readiness()
            caller.sendall(b"on")
            assert callee.recv(10) == b"on"

    story(tmp_path, tell, PYTHONPATH=str(tmp_path))


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _is_answered(sock: socket.socket) -> bool:
    sock.settimeout(PATIENCE_S)
    try:
        return round_trip(sock) == b"x"
    except ConnectionResetError:
        return False
