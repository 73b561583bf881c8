"""Races between pods that come, go and come again: ztunnel's statemanager tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.inpod.pods import Pods, Refused
from proxy.inpod.protocol import Add, Delete, Keep, SnapshotSent
from proxy.net.namespace import Netns
from proxy.tasks import Tasks
from proxy.tests.inpod.fakes import OTHER, POD, FakeHandle, FakeIdentities, FakeListeners
from proxy.tests.namespaces import new_netns, open_descriptors


class Setup:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.listeners = FakeListeners()
        self.identities = FakeIdentities()
        self.ends = Tasks(group)
        self.pods = Pods(
            self.listeners,
            self.identities,  # type: ignore[arg-type]  # a fake
            tasks=self.ends,
            trust_domain="td",
        )
        self.pods.connected()

    async def delete(self, uid: str) -> None:
        """A pod that has come to its end."""
        self.pods.handle(Delete(uid))
        await self.ends.wait(None)

    async def add(self, pod: PodInfo = POD, path: str = "/proc/self/ns/net") -> None:
        self.pods.handle(Add(pod, Netns.open(path)))

    async def add_other_namespace(self, pod: PodInfo = POD) -> None:
        with new_netns() as made:
            self.pods.handle(Add(pod, Netns(os.dup(made.fd))))


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def scenario(story: Callable[[Setup], Awaitable[None]]) -> Setup:
    async def run() -> Setup:
        async with asyncio.TaskGroup() as group:
            setup = Setup(group)
            await story(setup)
            await setup.pods.drain(3)
        return setup

    return asyncio.run(run())


def test_a_pod_is_served_until_it_is_deleted() -> None:
    """F79: no descriptor keeps its namespace alive any longer; `scenario` counts them."""

    async def story(setup: Setup) -> None:
        await setup.add()
        assert (setup.pods.running, setup.pods.ready) == (1, False)
        assert setup.identities.users == {SpiffeId("td", "bench", "client"): 1}
        setup.pods.handle(SnapshotSent())
        assert setup.pods.ready
        await setup.delete("u1")
        assert setup.identities.users == {}

    assert scenario(story).listeners.log == ["start u1", "close u1"]


def test_the_same_pod_again_changes_nothing() -> None:
    """Idempotent add; F47: duplicate snapshot."""

    async def story(setup: Setup) -> None:
        await setup.add()
        await setup.add()
        assert setup.pods.started == 1

    assert scenario(story).listeners.log == ["start u1", "drain 3 u1"]


@pytest.mark.netns
def test_the_same_uid_in_another_namespace_replaces_the_pod() -> None:
    async def story(setup: Setup) -> None:
        await setup.add()
        await setup.add_other_namespace()
        assert setup.pods.running == 1

    setup = scenario(story)
    assert setup.listeners.log == ["start u1", "start u1", "close u1", "drain 3 u1"]
    # The certificate's last user never goes away in between.
    assert setup.identities.log == ["+client", "+client", "-client", "-client"]


def test_the_same_uid_as_somebody_else_replaces_the_pod() -> None:
    """F46: the old identity is not kept for the new pod."""

    async def story(setup: Setup) -> None:
        await setup.add()
        await setup.add(replace(POD, service_account="other"))
        await setup.ends.wait(None)
        assert setup.identities.users == {SpiffeId("td", "bench", "other"): 1}

    assert scenario(story).listeners.log == ["start u1", "start u1", "close u1", "drain 3 u1"]


def test_add_delete_add() -> None:
    async def story(setup: Setup) -> None:
        await setup.add()
        await setup.delete("u1")
        await setup.add()

    assert scenario(story).listeners.log == ["start u1", "close u1", "start u1", "drain 3 u1"]


def test_a_failed_add_is_refused_and_tried_again() -> None:
    async def story(setup: Setup) -> None:
        setup.listeners.failing = "Address already in use"
        with pytest.raises(Refused, match=r"pod bench/client: .*Address already in use"):
            await setup.add()
        setup.pods.handle(SnapshotSent())
        assert (setup.pods.pending, setup.pods.ready) == (1, False)
        setup.pods.retry()
        assert setup.pods.pending == 1
        setup.listeners.failing = None
        setup.pods.retry()
        assert (setup.pods.pending, setup.pods.ready) == (0, True)

    assert scenario(story).listeners.log == ["start u1", "drain 3 u1"]


def test_a_failed_add_can_be_added_again_or_deleted() -> None:
    async def story(setup: Setup) -> None:
        setup.listeners.failing = "no"
        for _ in range(2):
            with pytest.raises(Refused):
                await setup.add()
        assert setup.identities.users == {SpiffeId("td", "bench", "client"): 1}
        setup.pods.handle(Delete("u1"))
        setup.listeners.failing = None
        setup.pods.retry()

    assert scenario(story).listeners.log == []


def test_what_a_new_snapshot_does_not_name_is_removed() -> None:
    """Reconnect: pods live on until the agent has named all it has."""

    async def story(setup: Setup) -> None:
        await setup.add(POD)
        await setup.add(OTHER)
        setup.pods.handle(SnapshotSent())
        setup.pods.connected()
        setup.pods.handle(Keep("u2"))
        assert setup.pods.running == 2
        setup.pods.handle(SnapshotSent())
        assert setup.pods.running == 1

    assert scenario(story).listeners.log == ["start u1", "start u2", "close u1", "drain 3 u2"]


def test_messages_that_do_not_fit_are_refused() -> None:
    """B95: at the wrong time. ztunnel leaves the connection to the agent over it, or ends."""

    async def story(setup: Setup) -> None:
        setup.pods.handle(SnapshotSent())
        with pytest.raises(Refused, match="after the snapshot"):
            setup.pods.handle(Keep("u1"))
        with pytest.raises(Refused, match="twice"):
            setup.pods.handle(SnapshotSent())

    scenario(story)


def test_a_pod_with_an_impossible_identity_is_refused() -> None:
    async def story(setup: Setup) -> None:
        with pytest.raises(Refused, match="service account"):
            await setup.add(replace(POD, service_account="No Such"))
        assert setup.pods.describe() == []

    scenario(story)


def test_what_is_not_there_may_be_deleted_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    """P20, B95: acknowledged, as by ztunnel: an agent repeats what it is not sure of."""

    async def story(setup: Setup) -> None:
        setup.pods.handle(Delete("gone"))
        setup.pods.handle(Keep("gone"))
        setup.pods.handle(SnapshotSent())
        assert setup.pods.ready
        setup.pods.handle(Delete("gone"))

    scenario(story)
    assert "agent keeps a pod that is not served uid=gone" in caplog.text


def test_the_end_of_fifty_pods_holds_up_nothing() -> None:
    """P08: their peers cannot answer any more; the next pod is served all the same, at once."""

    async def story(setup: Setup) -> None:
        pods = [replace(POD, uid=f"dead{number}") for number in range(50)]
        for pod in pods:
            await setup.add(pod)
        setup.pods.handle(SnapshotSent())
        handles = list(setup.listeners.running)
        setup.listeners.gate.clear()
        for pod in pods:
            setup.pods.handle(Delete(pod.uid))
        assert not any(handle.accepting for handle in handles)
        await setup.add(OTHER)
        assert (setup.pods.running, setup.pods.ready, setup.pods.stopped) == (1, True, 0)
        assert setup.identities.users[SpiffeId("td", "bench", "client")] == 50
        drain = asyncio.ensure_future(setup.pods.drain(3))
        await asyncio.sleep(0)
        assert not drain.done()
        setup.listeners.gate.set()
        await drain
        assert setup.pods.stopped == 51
        assert setup.identities.users == {}

    scenario(story)


def test_pods_that_a_snapshot_leaves_out_hold_up_nothing_either() -> None:
    """P08."""

    async def story(setup: Setup) -> None:
        await setup.add(POD)
        setup.listeners.gate.clear()
        setup.pods.connected()
        setup.pods.handle(SnapshotSent())
        assert (setup.pods.running, setup.pods.ready) == (0, True)
        setup.listeners.gate.set()

    assert scenario(story).listeners.log == ["start u1", "close u1"]


def test_a_pod_that_fails_unexpectedly_is_refused_and_no_other_is(caplog: pytest.LogCaptureFixture) -> None:
    """P01: nor does it keep the others from being tried again."""

    async def story(setup: Setup) -> None:
        def failing(pod: PodInfo, netns: object) -> FakeHandle:
            if pod is POD:
                raise ZeroDivisionError
            return start(pod, netns)  # type: ignore[arg-type]

        start, setup.listeners.start = setup.listeners.start, failing  # type: ignore[method-assign]
        with pytest.raises(Refused, match="unexpected ZeroDivisionError"):
            await setup.add(POD)
        setup.listeners.failing = "no"
        with pytest.raises(Refused):
            await setup.add(OTHER)
        setup.listeners.failing = None
        setup.pods.retry()
        assert (setup.pods.pending, setup.pods.running) == (1, 1)

    scenario(story)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2


def test_an_end_that_fails_leaves_nothing_of_the_pod(caplog: pytest.LogCaptureFixture) -> None:
    """P01: its namespace is let go of, its identity forgotten."""

    async def story(setup: Setup) -> None:
        async def failing() -> None:
            raise ZeroDivisionError

        await setup.add(POD)
        setup.listeners.running[0].close = failing  # type: ignore[method-assign]
        await setup.delete("u1")
        assert setup.identities.users == {}

    scenario(story)
    assert "task failed unexpectedly task=end bench/client" in caplog.text


def test_without_an_agent_nobody_knows_whether_all_pods_are_served() -> None:
    """As in ztunnel, readiness is lost with the connection and comes back with the next snapshot."""

    async def story(setup: Setup) -> None:
        await setup.add()
        setup.pods.handle(SnapshotSent())
        assert (setup.pods.ready, setup.pods.attached) == (True, True)
        setup.pods.disconnected()
        assert (setup.pods.ready, setup.pods.attached, setup.pods.running) == (False, False, 1)
        setup.pods.connected()
        setup.pods.handle(Keep("u1"))
        assert not setup.pods.ready
        setup.pods.handle(SnapshotSent())
        assert setup.pods.ready

    scenario(story)
