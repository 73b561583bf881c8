"""Apps that do not wait for their connection, and those that only look as if they did not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from proxy.config import SameNode
from proxy.listeners import patience
from proxy.listeners.patience import while_app_waits
from proxy.tests.listeners.cluster import cluster
from proxy.tests.listeners.far import far, ignore
from proxy.tests.sockets import receive_all, receive_exactly, reset, run, send, tcp_pair, until


class Looks(list[str | None]):
    """What was found each time that an app was looked at, every 10 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        left = while_app_waits._left

        def look(watch: while_app_waits) -> str | None:
            self.append(left(watch))
            return self[-1]

        monkeypatch.setattr(while_app_waits, "_left", look)
        monkeypatch.setattr(patience, "LOOK_S", 0.01)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_an_app_that_ends_its_half_is_connected_all_the_same(looks: Looks) -> None:
    """P41: it sends the same FIN as one that has left, and reads on."""

    async def test() -> None:
        async with far() as f:
            f.behave = ignore
            sock = await f.app_that_asked()
            sock.shutdown(socket.SHUT_WR)
            await until(lambda: f.requests and len(looks) > 3)
            (request,) = f.requests
            request.stream.accept()
            assert await receive_exactly(sock, 2) == b"\5\0"
            await until(lambda: request.stream._ended)
            request.stream.end()
            await receive_all(sock)

            assert not any(looks)
            sock.close()

    run(test())


def test_what_an_app_sent_before_it_left_is_carried(looks: Looks) -> None:
    """One that sends, closes and is gone, as loggers do: TCP would deliver its bytes."""

    async def test() -> None:
        async with far() as f:
            f.behave = ignore
            sock = await f.app_that_asked()
            await send(sock, b"a line for the log")
            sock.close()
            await until(lambda: f.requests and len(looks) > 3)
            (request,) = f.requests
            request.stream.accept()
            await until(lambda: request.stream._ended or request.stream.lost)

            assert request.stream._early == b"a line for the log"

    run(test())


@dataclass
class Silence:
    """A dialer's way to somebody who does not answer."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def dial(self, *_: object, **__: object) -> socket.socket:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@pytest.mark.netns
@pytest.mark.parametrize("end", [reset, socket.socket.close], ids=["RST", "FIN"])
@pytest.mark.parametrize(
    ("destination", "dials", "same_node"),
    [
        ("server", "client", SameNode.HBONE),
        ("server", "server", SameNode.PLAINTEXT),
        ("outside", "client", SameNode.HBONE),
    ],
    ids=["through a tunnel", "on the same node", "out of the mesh"],
)
def test_a_captured_app_that_leaves_before_it_is_connected_is_noticed(
    destination: str, dials: str, same_node: SameNode, end: Callable[[socket.socket], None]
) -> None:
    """P41: its socket is in the pod's namespace."""

    async def test() -> None:
        async with cluster(nodes=1, same_node=same_node) as c:
            silence = Silence()
            c.nodes[dials].pods[dials]._pod.dialer.dial = silence.dial  # type: ignore[method-assign]
            sock = await c.dial("client", destination)
            await silence.begun.wait()
            end(sock)
            (record,) = await c.records(c.client, 1)

            assert (record.error or "").startswith("app left before it was connected: ")

    run(test())


@pytest.mark.netns
def test_a_caller_in_plaintext_that_resets_before_it_is_connected_is_noticed() -> None:
    """P41: its socket is on another host, so that its FIN says nothing."""

    async def test() -> None:
        async with cluster() as c:
            silence = Silence()
            c.server.pods["server"]._pod.dialer.dial = silence.dial  # type: ignore[method-assign]
            sock = await c.dial("outside", "server")
            await silence.begun.wait()
            reset(sock)
            (record,) = await c.records(c.server, 1)

            assert record.error == "app left before it was connected: reset"

    run(test())


def test_a_task_that_is_cancelled_as_its_app_leaves_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy drains just then: its word counts."""

    async def connecting(sock: socket.socket) -> None:
        with while_app_waits(sock, None):
            await asyncio.Event().wait()

    async def test() -> None:
        app, near = tcp_pair()
        with app, near:
            task = asyncio.ensure_future(connecting(near))

            def left(_: while_app_waits) -> str:
                task.cancel()
                return "reset"

            monkeypatch.setattr(while_app_waits, "_left", left)
            monkeypatch.setattr(patience, "LOOK_S", 0.0)
            with pytest.raises(asyncio.CancelledError):
                await task

    run(test())


def test_a_connection_that_came_about_is_not_watched() -> None:
    async def test() -> None:
        app, near = tcp_pair()
        with app, near:
            with while_app_waits(near, None) as watch:
                pass
            assert watch._timer is not None
            assert watch._timer.cancelled()

    run(test())
