"""Chapter 3: starting HTTP/2."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.hbone import frames
from proxy.hbone.frames import FrameType
from proxy.tests.wire.cases import Dies, cases, verify
from proxy.tests.wire.peer import Peer, head
from proxy.tests.wire.running import Running

pytestmark = pytest.mark.netns

BROKEN = Dies(ErrorCodes.PROTOCOL_ERROR)


def test_server_begins_with_settings(server: Running) -> None:
    """http2/3.5: without waiting for ours; they say what binds."""
    with Peer.connect(server, b"") as peer:
        peer.read_until(lambda p: p.settings is not None)

        assert peer.kinds[0] == FrameType.SETTINGS
        assert (SettingCodes.MAX_CONCURRENT_STREAMS, 200) in (peer.settings or [])


@cases(
    ("another preface", b"INVALID CONNECTION PREFACE\r\n\r\n", BROKEN),
    ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", BROKEN),
    ("an upgrade to h2c", b"OPTIONS * HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", BROKEN),
    ("HTTP/1.1's CONNECT", b"CONNECT 10.99.0.2:8080 HTTP/1.1\r\n\r\n", BROKEN),
    ("TLS inside TLS", b"\x16\x03\x01\x02\0\1\0\1\xfc\x03\x03", BROKEN),
    ("a preface with garbage behind it", frames.PREFACE + b"\xff" * 32, Dies(ErrorCodes.FRAME_SIZE_ERROR)),
    ("HEADERS before SETTINGS", frames.PREFACE + head(1), BROKEN),
    ("PING before SETTINGS", frames.PREFACE + frames.ping(b"12345678", ack=False), BROKEN),
)
def test_anything_else_first(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/3.5, T25, B71."""
    verify(server, sent, expected, opening=b"")
