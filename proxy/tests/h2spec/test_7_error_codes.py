"""Chapter 7: error codes."""

from __future__ import annotations

import pytest

from proxy.hbone import frames
from proxy.tests.wire.cases import LIVES, Lives, cases, verify
from proxy.tests.wire.peer import Peer, head
from proxy.tests.wire.running import Running

pytestmark = pytest.mark.netns


@cases(
    ("RST_STREAM with an unknown code", head(1) + frames.rst_stream(1, 0xFF), LIVES),
)
def test_unknown_code_of_a_stream(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/7: no special behaviour."""
    verify(server, sent, expected)


def test_unknown_code_of_the_connection(server: Running) -> None:
    """http2/7: a GOAWAY like any other: what lives goes on."""
    with Peer.connect(server) as peer:
        peer.send(head(1))
        peer.read_until(lambda p: p.statuses)
        peer.send(frames.goaway(0, 0xFF))

        assert peer.echo(1, b"late")
        assert peer.alive()
