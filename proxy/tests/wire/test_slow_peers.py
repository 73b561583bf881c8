"""T15, B70: whatever a peer does slowly, or not at all, it is closed in time and counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from proxy.hbone import frames
from proxy.telemetry import ConnectionRecord, Flag
from proxy.tests.sockets import PATIENCE_S
from proxy.tests.wire.peer import ACK, OPENING, Peer, head
from proxy.tests.wire.running import Running, running, wait_until

pytestmark = pytest.mark.netns

LIMIT_S = 1.0
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
"""The first bytes of one."""

NO_SETTINGS, NO_REQUEST = "no SETTINGS after 1 s", "no request after 1 s"
INCOMPLETE = "a frame not complete after 1 s"
"""Runs from the frame's first byte, so it may come after the others."""


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    """A proxy with short limits."""
    with running(handshake_timeout_s=LIMIT_S) as made:
        yield made


@pytest.mark.parametrize(
    "sent",
    [b"", CLIENT_HELLO, b"\x16"],
    ids=["no ClientHello", "half of one", "one byte of one"],
)
def test_before_tls(impatient: Running, sent: bytes) -> None:
    sock = impatient.connected()
    with sock:
        source = sock.getsockname()[1]
        sock.sendall(sent)
        assert ended(sock)
    line = line_of(impatient, source)

    assert line.flag is Flag.TLS_FAILURE
    assert line.error == "TLS handshake not complete after 1 s"


def line_of(server: Running, port: int) -> ConnectionRecord:
    """The access line of the connection from a port, which may be written after its socket is closed."""
    wait_until(lambda: any(r.source_address[1] == port for r in server.completed))
    (line,) = (r for r in server.completed if r.source_address[1] == port)
    return line


def ended(sock: socket.socket) -> bool:
    """Whether the other side closes, in whatever way."""
    sock.settimeout(PATIENCE_S)
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    ("sent", "reasons"),
    [
        (b"", (NO_SETTINGS,)),
        (frames.PREFACE[:10], (NO_SETTINGS, INCOMPLETE)),
        (frames.PREFACE + frames.settings([]), ("our SETTINGS not acknowledged after 1 s",)),
        (OPENING, (NO_REQUEST,)),
        (OPENING + head(1)[:15], (NO_REQUEST, INCOMPLETE)),
        (OPENING + frames.frame(1, 0, 1, b"\x82"), (NO_REQUEST, INCOMPLETE)),
    ],
    ids=["no preface", "half a preface", "no ACK", "no request", "half a frame", "half a header block"],
)
def test_after_tls(impatient: Running, sent: bytes, reasons: tuple[str, ...]) -> None:
    before = impatient.stats.faults["deadline"]
    with Peer.connect(impatient, sent) as peer:
        source = peer.sock.getsockname()[1]
        peer.read_until(lambda p: p.closed)

    assert line_of(impatient, source).error in reasons
    assert impatient.stats.faults["deadline"] == before + 1


def test_not_tls_at_all(impatient: Running) -> None:
    """B70: HTTP/1.1, SSH, zeros: refused at once, with TLS's own words."""
    for first in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(64)):
        with impatient.connected() as sock:
            source = sock.getsockname()[1]
            sock.sendall(first)
            assert ended(sock)
        assert line_of(impatient, source).flag is Flag.TLS_FAILURE


def test_slow_but_in_time(impatient: Running) -> None:
    """The same steps, each finished, live on."""
    with Peer.connect(impatient, b"") as peer:
        for step in (frames.PREFACE[:10], frames.PREFACE[10:] + frames.settings([]), ACK, head(1)):
            peer.send(step)
        peer.read_until(lambda p: p.statuses)

        assert peer.alive()
