"""Fixtures for all of the proxy's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from proxy.net.namespace import NamespaceError, Netns, inside
from proxy.tests.namespaces import new_netns


@pytest.fixture(scope="session", autouse=True)
def _home() -> None:
    """Open what is opened once per process before anyone counts descriptors."""
    with Netns.own() as own, suppress(NamespaceError), inside(own.fd):
        pass


@pytest.fixture
def netns() -> Iterator[Netns]:
    """A network namespace of the test's own."""
    with new_netns() as made:
        yield made
