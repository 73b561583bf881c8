"""P01: whatever background work meets, the proxies go on, with what they held: whole processes."""

from __future__ import annotations

import asyncio
import resource
import socket
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from proxy.proto.ca_pb2 import IstioCertificateRequest
from proxy.tests.bed import SERVER, Bed, Node, bed_in, call, echo
from proxy.tests.ca import Ca, grpc_ca
from proxy.tests.calls import PATIENCE_S, established, ready, story
from proxy.tests.sockets import free_port
from proxy.tests.unforeseen import spoil, unforeseen, working

pytestmark = pytest.mark.netns


def carries(caller: socket.socket, app: socket.socket) -> None:
    """Bytes pass in both directions."""
    for one, other in ((caller, app), (app, caller)):
        one.sendall(b"x")
        assert other.recv(1) == b"x"


def test_each_background_task_may_raise_what_nobody_foresaw(tmp_path: Path) -> None:
    """Those that the supervisor runs, one after another, on both nodes: all traffic goes on meanwhile."""

    names = ("PYZTUNNEL_ADMIN_PORT", "PYZTUNNEL_STATS_PORT")
    ports = {node: {name: str(free_port()) for name in names} for node in ("a", "b")}

    async def tell(bed: Bed) -> None:
        with established(bed) as connection:
            for node, pod in ((bed.a, "client"), (bed.b, "server")):
                names = await working(tmp_path, node.process.pid)
                certificate = f"certificate spiffe://cluster.local/ns/bench/sa/{pod}"
                assert {"agent", "mesh document", "pods that failed", certificate} <= set(names)
                served = {name.split()[1] for name in names if name.startswith("serve ")}
                assert served == {"admin", "stats", "readiness", "control", "bench"}
                assert len(set(names)) == len(names)
                for name in names:
                    await spoil(tmp_path, node.process.pid, name)
                    await node.log_has(f"background task failed task={name} again_in=")
                    if name == "agent":
                        node.agent.hang_up()
                        await node.tell()
                    carries(*connection)
                    assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"new") == b"new"
                await ready(node)
                assert await working(tmp_path, node.process.pid) == names
                stats = await node.ask("control", "stats")
                assert stats["background_failures"] == len(names)
                await node.ask("bench", "nothing")
                metrics = await asyncio.to_thread(scrape, int(ports[node.name]["PYZTUNNEL_STATS_PORT"]))
                assert f"pyztunnel_background_failures_total {len(names)}" in metrics
                assert (node.folder / "log").read_text().count("UnforeseenError") >= len(names)

    story(tmp_path, tell, **unforeseen(tmp_path, ports))


def scrape(port: int) -> list[str]:
    """The lines of a proxy's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        return str(answer.read(), "utf-8").splitlines()


class FickleCa:
    """Issues certificates that are due for renewal 2 s later and live long; or answers with garbage."""

    def __init__(self) -> None:
        self.ca = Ca()
        self.garbage = False

    def answer(self, request: IstioCertificateRequest) -> Sequence[str] | bytes:
        if self.garbage:
            return b"\xff\xff\xff"
        ago = timedelta(minutes=10)
        return self.ca.answer(request.csr, starts=-ago, life=2 * ago + timedelta(seconds=4))


Trouble = Callable[[Node, Path, FickleCa], AbstractContextManager[None]]


@contextmanager
def garbage(_node: Node, _token: Path, ca: FickleCa) -> Iterator[None]:
    """F42."""
    ca.garbage = True
    yield
    ca.garbage = False


@contextmanager
def two_lines(_node: Node, token: Path, _ca: FickleCa) -> Iterator[None]:
    """No header can carry them."""
    token.write_text("abc\ndef\n")
    yield
    token.write_text("abc\n")


@contextmanager
def unreadable(_node: Node, token: Path, _ca: FickleCa) -> Iterator[None]:
    """What root meets where others meet a folder that they may not search: the path cannot be walked."""
    token.unlink()
    token.symlink_to("x" * 300)
    yield
    token.unlink()
    token.write_text("abc\n")


@contextmanager
def no_descriptors(node: Node, _token: Path, _ca: FickleCa) -> Iterator[None]:
    """F14: all of them are taken when a new certificate is handed to OpenSSL."""
    pid = node.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    first_free = next(number for number in count() if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (garbage, "answered with 3 bytes that are no certificate response"),
        (two_lines, "expected one line of printable ASCII"),
        (unreadable, "File name too long"),
        (no_descriptors, "Too many open files"),
    ],
)
def test_trouble_at_a_renewal_costs_nothing(tmp_path: Path, trouble: Trouble, told: str) -> None:
    """The certificate that is held carries on, and the next is fetched once the trouble is over."""
    ca, token = FickleCa(), tmp_path / "token"
    token.write_text("abc\n")

    async def run() -> None:
        async with (
            grpc_ca(tmp_path / "ca.sock", ca.answer),
            bed_in(tmp_path, {"AUTH_TOKEN": str(token)}, authority=False) as bed,
        ):
            with echo(bed.server, 8080):
                for node in (bed.a, bed.b):
                    await ready(node)
                with established(bed) as connection:
                    with trouble(bed.a, token, ca):
                        await line(bed.a, 1, "certificate not fetched", told)
                        carries(*connection)
                        if trouble is not no_descriptors:
                            assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"in") == b"in"
                    fetched = lines(bed.a, "certificate fetched")
                    await line(bed.a, fetched + 1, "certificate fetched")
                    carries(*connection)
                    assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"after") == b"after"
                stats = await bed.a.ask("control", "stats")
                assert stats["background_failures"] == 0

    asyncio.run(run())


def lines(node: Node, *texts: str) -> int:
    """How many lines of the node's log say all of this."""
    log = (node.folder / "log").read_text()
    return sum(all(text in line for text in texts) for line in log.splitlines())


async def line(node: Node, count: int, *texts: str) -> None:
    """Wait for as many such lines."""
    async with asyncio.timeout(PATIENCE_S):
        while lines(node, *texts) < count:  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.01)
