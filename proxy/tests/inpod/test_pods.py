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
from proxy.tests.inpod.fakes import OTHER, POD, FakeIdentities, FakeListeners
from proxy.tests.namespaces import new_netns, open_descriptors


class Setup:
    def __init__(self) -> None:
        self.listeners = FakeListeners()
        self.identities = FakeIdentities()
        self.pods = Pods(self.listeners, self.identities, trust_domain="td")  # type: ignore[arg-type]  # a fake
        self.pods.connected()

    async def add(self, pod: PodInfo = POD, path: str = "/proc/self/ns/net") -> None:
        await self.pods.handle(Add(pod, Netns.open(path)))

    async def add_other_namespace(self, pod: PodInfo = POD) -> None:
        with new_netns() as made:
            await self.pods.handle(Add(pod, Netns(os.dup(made.fd))))


@pytest.fixture(autouse=True)
def leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def scenario(story: Callable[[Setup], Awaitable[None]]) -> Setup:
    setup = Setup()

    async def run() -> None:
        await story(setup)
        await setup.pods.drain(3)

    asyncio.run(run())
    return setup


def test_a_pod_is_served_until_it_is_deleted() -> None:
    """F79: no descriptor keeps its namespace alive any longer; `scenario` counts them."""

    async def story(setup: Setup) -> None:
        await setup.add()
        assert (setup.pods.running, setup.pods.ready) == (1, False)
        assert setup.identities.users == {SpiffeId("td", "bench", "client"): 1}
        await setup.pods.handle(SnapshotSent())
        assert setup.pods.ready
        await setup.pods.handle(Delete("u1"))
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
    assert setup.listeners.log == ["start u1", "close u1", "start u1", "drain 3 u1"]
    # The certificate's last user never goes away in between.
    assert setup.identities.log == ["+client", "+client", "-client", "-client"]


def test_the_same_uid_as_somebody_else_replaces_the_pod() -> None:
    """F46: the old identity is not kept for the new pod."""

    async def story(setup: Setup) -> None:
        await setup.add()
        await setup.add(replace(POD, service_account="other"))
        assert setup.identities.users == {SpiffeId("td", "bench", "other"): 1}

    assert scenario(story).listeners.log == ["start u1", "close u1", "start u1", "drain 3 u1"]


def test_add_delete_add() -> None:
    async def story(setup: Setup) -> None:
        await setup.add()
        await setup.pods.handle(Delete("u1"))
        await setup.add()

    assert scenario(story).listeners.log == ["start u1", "close u1", "start u1", "drain 3 u1"]


def test_a_failed_add_is_refused_and_tried_again() -> None:
    async def story(setup: Setup) -> None:
        setup.listeners.failing = "Address already in use"
        with pytest.raises(Refused, match=r"pod bench/client: .*Address already in use"):
            await setup.add()
        await setup.pods.handle(SnapshotSent())
        assert (setup.pods.pending, setup.pods.ready) == (1, False)
        await setup.pods.retry()
        assert setup.pods.pending == 1
        setup.listeners.failing = None
        await setup.pods.retry()
        assert (setup.pods.pending, setup.pods.ready) == (0, True)

    assert scenario(story).listeners.log == ["start u1", "drain 3 u1"]


def test_a_failed_add_can_be_added_again_or_deleted() -> None:
    async def story(setup: Setup) -> None:
        setup.listeners.failing = "no"
        for _ in range(2):
            with pytest.raises(Refused):
                await setup.add()
        assert setup.identities.users == {SpiffeId("td", "bench", "client"): 1}
        await setup.pods.handle(Delete("u1"))
        setup.listeners.failing = None
        await setup.pods.retry()

    assert scenario(story).listeners.log == []


def test_what_a_new_snapshot_does_not_name_is_removed() -> None:
    """Reconnect: pods live on until the agent has named all it has."""

    async def story(setup: Setup) -> None:
        await setup.add(POD)
        await setup.add(OTHER)
        await setup.pods.handle(SnapshotSent())
        setup.pods.connected()
        await setup.pods.handle(Keep("u2"))
        assert setup.pods.running == 2
        await setup.pods.handle(SnapshotSent())
        assert setup.pods.running == 1

    assert scenario(story).listeners.log == ["start u1", "start u2", "close u1", "drain 3 u2"]


def test_messages_that_do_not_fit_are_refused() -> None:
    """B95."""

    async def story(setup: Setup) -> None:
        for request in (Keep("u1"), Delete("u1")):
            with pytest.raises(Refused, match="not served here"):
                await setup.pods.handle(request)
        await setup.pods.handle(SnapshotSent())
        with pytest.raises(Refused, match="after the snapshot"):
            await setup.pods.handle(Keep("u1"))
        with pytest.raises(Refused, match="twice"):
            await setup.pods.handle(SnapshotSent())

    scenario(story)


def test_a_pod_with_an_impossible_identity_is_refused() -> None:
    async def story(setup: Setup) -> None:
        with pytest.raises(Refused, match="service account"):
            await setup.add(replace(POD, service_account="No Such"))
        assert setup.pods.describe() == []

    scenario(story)
