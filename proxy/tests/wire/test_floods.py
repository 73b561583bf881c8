"""Floods on a real connection: it ends calmly, once counted, once logged; its neighbour does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

import pytest
from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.events import Header
from proxy.hbone.limits import SERVER_LIMITS
from proxy.telemetry import Flag
from proxy.tests.hbone.floods import FLOODS, NAMES
from proxy.tests.listeners.cluster import ADDRESSES, PORT
from proxy.tests.namespaces import run_in
from proxy.tests.wire.peer import CONNECT, Peer, data, head
from proxy.tests.wire.running import CLIENT, FIREHOSE, Running, wait_until

pytestmark = pytest.mark.netns

INITIAL_WINDOW = 4
TO_FIREHOSE = [*CONNECT[:1], (b":authority", FIREHOSE.encode()), *CONNECT[2:]]
SILENT_PORT = PORT + 7
TO_SILENT = [*CONNECT[:1], (b":authority", f"{ADDRESSES['server']}:{SILENT_PORT}".encode()), *CONNECT[2:]]
MUCH = 64 << 20
"""Bytes, far more than the kernel's buffers on the way and ours."""


def ends_calmly(server: Running, neighbour: Peer, kind: str, flood: bytes) -> None:
    """Send a flood on a connection of its own."""
    faults, lines = server.stats.faults.copy(), len(server.completed)
    with Peer.connect(server) as peer:
        peer.send(flood)
        peer.read_until(lambda p: p.closed)

        assert peer.goaway == ErrorCodes.ENHANCE_YOUR_CALM
    counted(server, neighbour, kind, faults[kind], lines)


def counted(server: Running, neighbour: Peer, kind: str, before: int, lines: int) -> None:
    """The tunnel has its count and its line, and nobody else has noticed."""
    assert neighbour.echo(1, b"still here")
    wait_until(lambda: server.stats.faults[kind] == before + 1)
    said = f"peer broke the protocol: flood of {kind}"
    # Streams that lived have lines of their own, with an authority.
    ours = [r for r in server.completed[lines:] if r.error == said and r.hbone_address is None]
    assert len(ours) == 1
    assert (ours[0].source_identity, ours[0].flag) == (CLIENT, Flag.H2_HANDSHAKE_FAILURE)


@pytest.mark.parametrize(("_id", "kind", "flood"), FLOODS, ids=NAMES)
def test_flood(server: Running, neighbour: Peer, _id: str, kind: str, flood: bytes) -> None:
    """T03, T06 to T08, T10, T11."""
    request = b"" if "header" in kind or kind == "CONTINUATION" else head(1)

    ends_calmly(server, neighbour, kind, request + flood)


def test_malformed_requests(server: Running, neighbour: Peer) -> None:
    """T13, CVE-2019-9514."""
    bad = [*CONNECT, (b"Upper", b"")]

    ends_calmly(server, neighbour, "resets", b"".join(head(2 * n + 1, bad) for n in range(1100)))


def test_resets_that_we_are_made_to_send(server: Running, neighbour: Peer) -> None:
    """T02, CVE-2025-8671: a window over its maximum, on one stream after the other."""
    one = [head(2 * n + 1) + frames.window_update(2 * n + 1, frames.MAX_WINDOW) for n in range(1100)]
    dialled = server.stats.connects_received

    ends_calmly(server, neighbour, "resets", b"".join(one))
    assert server.stats.connects_received < dialled + 20  # one where a read ended between the two frames


def test_rapid_reset_in_one_go_dials_nobody(server: Running, neighbour: Peer) -> None:
    """T01, CVE-2023-44487: HEADERS and RST_STREAM in one segment, ten times (real ztunnel: ten dials)."""
    dialled = server.stats.connects_received
    with Peer.connect(server) as peer:
        pairs = [head(2 * n + 1) + frames.rst_stream(2 * n + 1, ErrorCodes.CANCEL) for n in range(10)]
        peer.send(b"".join(pairs))

        assert peer.alive()
    assert server.stats.connects_received == dialled
    assert neighbour.echo(1, b"still here")


def test_rapid_reset_in_lock_step(server: Running, neighbour: Peer) -> None:
    """T01: a few streams, the PING's answer, resets, again, against an app that does not answer: what it
    costs us, a dial, goes on after each reset. Real ztunnel does not limit that."""
    lines, before, rounds = len(server.completed), server.stats.faults["resets"], 0
    limit = SERVER_LIMITS.resets.burst
    with silent_app(server), Peer.connect(server) as peer:
        while not peer.closed and rounds * 50 < 4 * limit:
            ids = lock_step(peer, rounds, TO_SILENT)
            peer.send(b"".join(frames.rst_stream(stream_id, ErrorCodes.CANCEL) for stream_id in ids))
            rounds += 1
        peer.read_until(lambda p: p.closed)

        assert peer.goaway == ErrorCodes.ENHANCE_YOUR_CALM
    assert rounds * 50 >= limit - 50
    counted(server, neighbour, "resets", before, lines)


def test_connections_that_are_aborted_at_once_are_no_flood(server: Running, neighbour: Peer) -> None:
    """P02, B05: as many, answered and then reset: the tunnel lives, so does its neighbour, and no connection
    to the app is left in TIME_WAIT, which is where real ztunnel's end."""
    accepted = server.stats.connects_accepted
    count = SERVER_LIMITS.resets.burst * 3 // 2
    with Peer.connect(server) as peer:
        peer.send(head(1))
        peer.read_until(lambda p: p.statuses)
        for number in range(count // 50):
            ids = lock_step(peer, number + 1, CONNECT)
            peer.read_until(lambda p, ids=ids: p.statuses.keys() >= set(ids))  # type: ignore[misc]
            peer.send(b"".join(frames.rst_stream(stream_id, ErrorCodes.CANCEL) for stream_id in ids))

        assert peer.echo(1, b"still here")
        assert peer.goaway is None
    assert server.stats.connects_accepted >= accepted + count
    assert neighbour.echo(1, b"still here")
    assert waiting_out(server) == 0


def lock_step(peer: Peer, number: int, request: list[Header]) -> list[int]:
    """Ask for fifty streams and wait until the peer has heard of them; their ids."""
    ids = [2 * (number * 50 + n) + 1 for n in range(50)]
    peer.send(b"".join(head(stream_id, request) for stream_id in ids))
    peer.alive()
    return ids


@contextmanager
def silent_app(server: Running) -> Iterator[None]:
    """Nothing is heard of a connect to its port."""
    netns = server.cluster.namespaces["server"]
    rule = ("INPUT", "-p", "tcp", "--dport", str(SILENT_PORT), "-j", "DROP")
    run_in(netns, "iptables-legacy", "-A", *rule)
    try:
        yield
    finally:
        run_in(netns, "iptables-legacy", "-D", *rule)


def waiting_out(server: Running) -> int:
    """Connections to the app in TIME_WAIT."""
    table = run_in(server.cluster.namespaces["server"], "cat", "/proc/net/tcp")
    rows = [line.split() for line in table.splitlines()[1:]]
    return sum(state == "06" and remote.endswith(f":{PORT:04X}") for _, _, remote, state, *_ in rows)


def test_shut_window_stops_the_app(server: Running, neighbour: Peer) -> None:
    """T12: SETTINGS_INITIAL_WINDOW_SIZE 0 against an app that sends without end; opened, it goes on."""
    connections = len(server.poured)
    with Peer.connect(server) as peer:
        peer.send(frames.settings([(INITIAL_WINDOW, 0)]) + head(1, TO_FIREHOSE))
        peer.read_until(lambda p: p.statuses)
        poured = stalled(server, connections)
        assert poured < MUCH
        assert peer.alive()
        assert peer.payload == {}
        assert neighbour.echo(1, b"still here")
        peer.send(frames.window_update(1, 50_000))
        peer.read_until(lambda p: len(p.payload.get(1, b"")) == 50_000)

        assert peer.alive()


def test_peer_that_never_reads_stops_the_app(server: Running, neighbour: Peer) -> None:
    """T12: every window is open, and the socket is not read: bounded by what we let wait to be sent."""
    connections = len(server.poured)
    with Peer.connect(server, receive_buffer=4096) as peer:
        windows = frames.window_update(0, 2**31 - 1 - 65_535)
        peer.send(frames.settings([(INITIAL_WINDOW, 2**31 - 1)]) + windows + head(1, TO_FIREHOSE))
        poured = stalled(server, connections)
        assert 0 < poured < MUCH
        assert neighbour.echo(1, b"still here")
        peer.read_until(lambda p: len(p.payload.get(1, b"")) > poured)

        assert peer.resets == {}


def stalled(server: Running, connections: int) -> int:
    """What the firehose's connection after so many others got rid of, once it does not get rid of more."""
    wait_until(lambda: len(server.poured) > connections and server.poured[-1])
    seen = [-1, -2, -3]
    while len(set(seen[-3:])) > 1:
        sleep(0.1)
        seen.append(server.poured[-1])
    return seen[-1]


def test_chatty_tunnel_lives(server: Running, neighbour: Peer) -> None:
    """T09b: 20 streams with a write of 1 to 64 bytes a frame, both ways, far beyond every budget's burst."""
    ids = [2 * n + 1 for n in range(20)]
    with Peer.connect(server) as peer:
        peer.send(frames.window_update(0, 1 << 24) + b"".join(head(stream_id) for stream_id in ids))
        peer.read_until(lambda p: len(p.statuses) == len(ids))
        for turn in range(150):
            size = turn % 64 + 1
            peer.send(b"".join(data(stream_id, bytes(size)) for stream_id in ids))
        total = sum(turn % 64 + 1 for turn in range(150))
        peer.read_until(lambda p: all(len(p.payload.get(i, b"")) == total for i in ids))

        assert peer.alive()
        assert peer.resets == {}
    assert neighbour.echo(1, b"still here")
