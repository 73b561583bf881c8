"""Every case is on a connection of its own, beside a neighbour that must not notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.tests.wire.peer import Peer


@pytest.fixture(autouse=True)
def _undisturbed(neighbour: Peer) -> Iterator[None]:
    yield
    assert neighbour.echo(1, b"still here")
