"""What a peer sends, and what has to come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from h2.errors import ErrorCodes

from proxy.tests.wire.peer import Peer
from proxy.tests.wire.running import Running


@dataclass(frozen=True, slots=True)
class Lives:
    """The connection goes on; streams are answered and reset as said, and none but those is reset."""

    statuses: Mapping[int, int] = field(default_factory=dict)
    resets: Mapping[int, ErrorCodes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dies:
    """GOAWAY with this code, and the connection is closed."""

    code: ErrorCodes


Case = tuple[str, bytes, Lives | Dies]
LIVES = Lives()
CONNECTED = Lives(statuses={1: 200})


def cases(*rows: Case) -> pytest.MarkDecorator:
    """Parametrise a test by rows, named by what they send."""
    names, values = [row[0] for row in rows], [row[1:] for row in rows]
    return pytest.mark.parametrize(("sent", "expected"), values, ids=names)


def verify(server: Running, sent: bytes, expected: Lives | Dies, *, opening: bytes | None = None) -> None:
    """Send it on a connection of its own and look at what comes."""
    overdue = server.stats.faults["deadline"]
    with Peer.connect(server) if opening is None else Peer.connect(server, opening) as peer:
        peer.send(sent)
        if isinstance(expected, Dies):
            peer.read_until(lambda p: p.closed)

            assert expected.code == peer.goaway, peer
            # Not by its deadline, which would end every connection some time.
            assert server.stats.faults["deadline"] == overdue
            return
        peer.read_until(lambda p: expected.statuses.keys() <= p.statuses.keys())
        peer.read_until(lambda p: expected.resets.keys() <= p.resets.keys())

        assert peer.alive(), peer
        assert peer.goaway is None, peer
        assert dict(expected.resets) == peer.resets, peer
        assert expected.statuses.items() <= peer.statuses.items(), peer
