"""Fixtures for all of the proxy's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from proxy.net.namespace import NamespaceError, Netns, inside
from proxy.tests.namespaces import new_netns
from proxy.tests.wire.peer import Peer, head
from proxy.tests.wire.running import Running, running


@pytest.fixture(scope="session", autouse=True)
def _home() -> None:
    """Open what is opened once per process before anyone counts descriptors."""
    with Netns.own() as own, suppress(NamespaceError), inside(own.fd):
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A proxy for tests that talk to it in raw bytes; once per file, so that no other finds its thread."""
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def neighbour(server: Running) -> Iterator[Peer]:
    """A connection to it with a stream, which must not notice what others do."""
    with Peer.connect(server) as peer:
        peer.send(head(1))
        peer.read_until(lambda p: p.statuses)
        yield peer


@pytest.fixture
def netns() -> Iterator[Netns]:
    """A network namespace of the test's own."""
    with new_netns() as made:
        yield made
