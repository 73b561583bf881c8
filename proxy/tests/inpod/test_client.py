"""The ZDS client against a real SOCK_SEQPACKET server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Loop
from proxy.inpod import protocol
from proxy.inpod.client import Disconnected, ZdsClient
from proxy.inpod.pods import Pods
from proxy.main import loop_factory
from proxy.net.namespace import Netns
from proxy.tasks import Tasks
from proxy.tests.inpod.agent import Agent, add, delete, keep, snapshot_sent
from proxy.tests.inpod.fakes import OTHER, POD, FakeIdentities, FakeListeners
from proxy.tests.namespaces import open_descriptors
from proxy.tests.sockets import until


class Setup:
    def __init__(self, path: Path, group: asyncio.TaskGroup) -> None:
        self.listeners = FakeListeners()
        self.ends = Tasks(group)
        identities: Any = FakeIdentities()
        self.pods = Pods(self.listeners, identities, tasks=self.ends, trust_domain="td")
        self.client = ZdsClient(path, self.pods)


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Setup]:
    async with asyncio.TaskGroup() as group:
        setup = Setup(path, group)
        task = group.create_task(setup.client.run())
        try:
            yield setup
        finally:
            task.cancel()
            await asyncio.wait([task])
            await setup.pods.drain(1)


@pytest.fixture(params=[Loop.ASYNCIO, Loop.UVLOOP])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Both event loops: sockets of this kind are rare on either."""
    if request.param is Loop.UVLOOP:
        pytest.importorskip("uvloop")
    factory, _ = loop_factory(request.param)

    def run_with(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(story)

    return run_with


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_hello_pods_snapshot_delete(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        with Agent(tmp_path / "zds.sock") as agent, Netns.own() as own:
            async with running(tmp_path / "zds.sock") as setup:
                assert await agent.accept() == protocol.HELLO
                assert await agent.add(POD, own) == ""
                assert await agent.add(OTHER, own) == ""
                assert await agent.ask(snapshot_sent()) == ""
                assert setup.pods.ready
                assert await agent.ask(delete("u1")) == ""
                await setup.ends.wait(None)
                assert [handle.pod for handle in setup.listeners.running] == [OTHER]

    run(story())


def test_bad_requests_are_answered_and_the_connection_lives(tmp_path: Path, run: Run) -> None:
    """B95, B96."""

    async def story() -> None:
        with Agent(tmp_path / "zds.sock") as agent, Netns.own() as own, socket.socket() as other:
            async with running(tmp_path / "zds.sock"):
                await agent.accept()
                assert await agent.add(POD, own) == ""
                before = open_descriptors()
                for packet, descriptors in (
                    (add(OTHER), ()),
                    (add(OTHER), (own.fd, own.fd)),
                    (add(OTHER), (other.fileno(),)),
                    (add(OTHER), (own.fd,) * 30),
                    (delete("u1"), (own.fd,)),
                    (keep(""), ()),
                    (b"\xff\xff", ()),
                    (b"\xff\xff", (own.fd, own.fd)),
                    (b"x" * 100_000, (own.fd,)),
                ):
                    assert await agent.ask(packet, *descriptors) != ""
                assert open_descriptors() == before
                assert await agent.add(OTHER, own) == ""

    run(story())


def test_a_failed_pod_is_reported_to_the_agent(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        with Agent(tmp_path / "zds.sock") as agent, Netns.own() as own:
            async with running(tmp_path / "zds.sock") as setup:
                setup.listeners.failing = "Address already in use"
                await agent.accept()
                assert "Address already in use" in await agent.add(POD, own)
                assert await agent.ask(snapshot_sent()) == ""
                assert not setup.pods.ready

    run(story())


def test_pods_outlive_the_connection_and_the_next_snapshot_decides(tmp_path: Path, run: Run) -> None:
    """F47: the channel is cut, the agent is restarted."""

    async def story() -> None:
        with Agent(tmp_path / "zds.sock") as agent, Netns.own() as own:
            async with running(tmp_path / "zds.sock") as setup:
                await agent.accept()
                await agent.add(POD, own)
                await agent.add(OTHER, own)
                await agent.ask(snapshot_sent())
                agent.hang_up()
                await until(lambda: not setup.pods.attached)
                assert (setup.pods.running, setup.pods.ready) == (2, False)
                assert await agent.accept() == protocol.HELLO
                assert await agent.ask(keep("gone")) == ""
                assert await agent.ask(delete("gone")) == ""
                assert await agent.add(OTHER, own) == ""
                assert await agent.ask(snapshot_sent()) == ""
                assert setup.pods.ready
                await setup.ends.wait(None)
                assert [handle.pod for handle in setup.listeners.running] == [OTHER]
        assert setup.listeners.log == ["start u1", "start u2", "close u1", "drain 1 u2"]

    run(story())


def test_nothing_is_left_open(tmp_path: Path, run: Run) -> None:
    before = open_descriptors()
    test_pods_outlive_the_connection_and_the_next_snapshot_decides(tmp_path, run)

    assert open_descriptors() == before


def test_the_ends_of_fifty_pods_are_acknowledged_at_once(tmp_path: Path, run: Run) -> None:
    """P08: and the agent's next pod is served, while none of them has come to its end."""

    async def story() -> None:
        with Agent(tmp_path / "zds.sock") as agent, Netns.own() as own:
            async with running(tmp_path / "zds.sock") as setup:
                await agent.accept()
                for number in range(50):
                    await agent.add(replace(POD, uid=f"dead{number}"), own)
                await agent.ask(snapshot_sent())
                setup.listeners.gate.clear()
                for number in range(50):
                    assert await agent.ask(delete(f"dead{number}")) == ""
                assert await agent.add(OTHER, own) == ""
                assert (setup.pods.ready, setup.pods.stopped, len(setup.ends)) == (True, 0, 50)
                setup.listeners.gate.set()
        assert setup.pods.stopped == 51

    run(story())


class EnoughError(Exception):
    """Ends a loop that has none."""


def test_backoff_grows_to_its_cap_and_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 13:
            raise EnoughError

    monkeypatch.setattr("proxy.inpod.client.asyncio.sleep", sleep)

    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            with pytest.raises(EnoughError):
                await Setup(tmp_path / "none.sock", group).client.run()

    asyncio.run(story())

    assert slept[:3] == [0.01, 0.02, 0.04]
    assert slept[-2:] == [15.0, 15.0]


def test_an_absent_agent_is_named(tmp_path: Path) -> None:
    async def story() -> None:
        async with asyncio.TaskGroup() as group:
            with pytest.raises(Disconnected, match=r"ZDS socket .*none\.sock: No such file or directory"):
                await Setup(tmp_path / "none.sock", group).client.converse()

    asyncio.run(story())
