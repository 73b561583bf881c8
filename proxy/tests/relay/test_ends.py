"""P38, P39: every end, together with the last bytes or after them, arrives at the other side within a second.

Rows: who ends (an app, a tunnel's peer), how (FIN, RST; END_STREAM, RST_STREAM, GOAWAY, close_notify), and
whether the end comes in one read with the last bytes or in the next. On either loop: uvloop watches a socket
no more after its first error. What is over leaves no stream, relay, watch or descriptor.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from h2.errors import ErrorCodes

from proxy.config import Relay
from proxy.hbone import frames
from proxy.hbone.frames import HEAD_BYTES
from proxy.hbone.limits import SERVER_LIMITS, Limits
from proxy.net import options
from proxy.net.resets import ResetWatch
from proxy.relay.plain import plain_relay
from proxy.relay.stream import StreamRelay
from proxy.telemetry import Stats
from proxy.tests.ca import SERVER
from proxy.tests.namespaces import open_descriptors
from proxy.tests.sockets import (
    LOOPS,
    LoopFactory,
    background,
    reset,
    run,
    tcp_pair,
    until,
)
from proxy.tests.tunnel.pair import HEADERS, Contexts, TunnelPair, tunnels
from proxy.tunnel.client import ClientTunnel
from proxy.tunnel.errors import TlsFailed
from proxy.tunnel.server import ServerTunnel
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing, Tunnel

PROMPT_S = 1.0
LAST = b"the last bytes"
FIN, RST, EITHER, LIVES = "FIN", "RST", "either", "lives"


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> LoopFactory:
    """Every test of this file is about all of them."""
    factory: LoopFactory = request.param
    return factory


@pytest.fixture(params=["one read", "two reads"])
def together(request: pytest.FixtureRequest) -> bool:
    """Whether the end comes with the last bytes."""
    return bool(request.param == "one read")


def checked(test: Coroutine[Any, Any, None], loop: LoopFactory) -> None:
    """Run it, and see that nothing is left."""

    async def counted() -> None:
        gc.collect()  # what earlier tests have left to the collector
        watch = ResetWatch.of(asyncio.get_running_loop())
        watched, open_before = len(watch), open_descriptors()
        await test
        gc.collect()

        assert (len(watch), open_descriptors()) == (watched, open_before)

    run(counted(), loop=loop)


async def read(sock: socket.socket, length: int) -> bytes:
    """`length` bytes, fewer only before FIN. By asking again: no loop has a part in it."""
    received = bytearray()
    while len(received) < length:
        try:
            part = sock.recv(length - len(received))
        except BlockingIOError:
            await asyncio.sleep(0)
            continue
        if not part:
            break
        received += part
    return bytes(received)


async def ended(sock: socket.socket, expected: str, received: bytes = b"") -> None:
    """Whether the rest of the last bytes comes, and then this end."""
    async with asyncio.timeout(PROMPT_S):
        assert await read(sock, len(LAST) - len(received)) == LAST[len(received) :]
        if expected == RST:
            with pytest.raises(ConnectionResetError):
                await read(sock, 1)
        elif expected == FIN:
            assert await read(sock, 1) == b""


async def end(sock: socket.socket, how: str, other: socket.socket, *, together: bool) -> None:
    """Send the last bytes and the end; look at what the other end of it all gets."""
    sock.send(LAST)
    if not together:
        assert await read(other, len(LAST)) == LAST
    if how == FIN:
        sock.shutdown(socket.SHUT_WR)
    else:
        reset(sock)
    await ended(other, how, b"" if together else LAST)


# Apps.


@pytest.mark.parametrize("how", [FIN, RST])
@pytest.mark.parametrize("who", ["app", "backend"])
def test_an_app_ends(loop: LoopFactory, who: str, how: str, *, together: bool) -> None:
    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            sock, other = (r.app, r.backend) if who == "app" else (r.backend, r.app)
            await end(sock, how, other, together=together)
            if how == FIN:
                other.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(PROMPT_S):
                await asyncio.wait([r.client_task, r.server_task])

            assert_nothing_lives(pair)
            r.close()

    checked(test(), loop)


def assert_nothing_lives(pair: TunnelPair) -> None:
    for tunnel in (pair.client, pair.server):
        assert (tunnel.live, tunnel._streams, tunnel._blocked) == (0, {}, {})


@pytest.mark.parametrize("how", [FIN, RST])
@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("engine", Relay)
def test_a_plaintext_peer_ends(
    loop: LoopFactory, engine: Relay, who: str, how: str, *, together: bool
) -> None:
    async def test() -> None:
        client, near = tcp_pair()
        far, server = tcp_pair()
        async with background(plain_relay(engine, near, far).run()) as relay:
            sock, other = (client, server) if who == "client" else (server, client)
            await end(sock, how, other, together=together)
            if how == FIN:
                other.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(PROMPT_S):
                await asyncio.wait([relay])
        client.close()
        server.close()

    checked(test(), loop)


# Tunnels.


def end_stream(stream: TunnelStream) -> None:
    stream.end()


def rst_stream(stream: TunnelStream) -> None:
    stream.reset(ErrorCodes.CANCEL)


def goaway(stream: TunnelStream) -> None:
    """None of its streams was processed, says the peer."""
    stream.tunnel._channel.write(frames.goaway(0, ErrorCodes.NO_ERROR))


def goaway_after(stream: TunnelStream) -> None:
    """This one was."""
    stream.tunnel._channel.write(frames.goaway(stream.stream_id, ErrorCodes.NO_ERROR))


def close(stream: TunnelStream) -> None:
    """GOAWAY, close_notify and FIN."""
    stream.tunnel.close()


def close_notify(stream: TunnelStream) -> None:
    channel = stream.tunnel._channel
    channel._records.close_notify()
    channel.flush()


def fin(stream: TunnelStream) -> None:
    stream.tunnel._channel.flush()
    stream.tunnel._channel._sock.shutdown(socket.SHUT_WR)


def rst(stream: TunnelStream) -> None:
    stream.tunnel._channel.flush()
    stream.tunnel._channel.reset()


def ended_then_rst(stream: TunnelStream) -> None:
    """All was said, and then the connection broke: the app sees the FIN or, if it looks late, the reset."""
    stream.end()
    rst(stream)


PEERS_ENDS: list[tuple[Callable[[TunnelStream], None], str, str]] = [
    (end_stream, FIN, FIN),
    (rst_stream, RST, RST),
    (goaway, RST, LIVES),
    (goaway_after, LIVES, LIVES),
    (close, RST, RST),
    (close_notify, RST, RST),
    (fin, RST, RST),
    (rst, RST, RST),
    (ended_then_rst, EITHER, EITHER),
]
"""What a tunnel's peer does, and what then becomes of the app behind a client and behind a server: a server
may say that it has not processed a stream, a client's GOAWAY is about streams that we would open."""


@pytest.mark.parametrize(
    ("how", "of_client", "of_server"), PEERS_ENDS, ids=[e[0].__name__ for e in PEERS_ENDS]
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_tunnels_peer_ends(
    loop: LoopFactory,
    side: str,
    how: Callable[[TunnelStream], None],
    of_client: str,
    of_server: str,
    *,
    together: bool,
) -> None:
    async def test() -> None:
        async with tunnels() as pair:
            (await pair.request(0)).accept()
            await pair.first.answered()
            streams = pair.first, pair.requests[0]
            ours, peers = streams if side == "client" else reversed(streams)
            app, near = tcp_pair()
            relay = StreamRelay(
                pair.client.loop, near, ours, reset_code=ErrorCodes.CANCEL, app_waits=side == "client"
            )
            relaying = pair.group.create_task(relay.run())
            frame = memoryview(bytearray(HEAD_BYTES) + LAST)
            await until(lambda: ours.receiver)
            peers.send(frame, len(LAST))
            if not together:
                assert await read(app, len(LAST)) == LAST
            how(peers)
            expected = of_client if side == "client" else of_server
            await ended(app, expected, b"" if together else LAST)
            if expected == FIN:
                app.shutdown(socket.SHUT_WR)
            if expected == LIVES:
                assert not relaying.done()
                relay.cut("seen enough")
            async with asyncio.timeout(PROMPT_S):
                await asyncio.wait([relaying])
            assert (ours.tunnel.live, ours.tunnel._streams) == (0, {})
            app.close()
            peers.tunnel.abort("seen enough")

    checked(test(), loop)


# Handshakes.


async def _tunnel(side: str, ours: socket.socket) -> Tunnel:
    stats, timing = Stats(), Timing()
    if side == "server":
        return await ServerTunnel.accept(
            ours,
            Contexts.server,
            trust_domains=frozenset(("cluster.local",)),
            limits=SERVER_LIMITS,
            timing=timing,
            stats=stats,
        )
    tunnel, _ = await ClientTunnel.open(
        ours,
        Contexts.client,
        expected=frozenset({str(SERVER)}),
        headers=HEADERS,
        limits=SERVER_LIMITS,
        timing=timing,
        stats=stats,
    )
    return tunnel


@pytest.mark.parametrize("how", [FIN, RST])
@pytest.mark.parametrize("side", ["client", "server"])
def test_the_peer_ends_with_its_first_flight(loop: LoopFactory, side: str, how: str) -> None:
    """A ServerHello, or a ClientHello, and the end with it."""

    async def test() -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = Contexts.client if side == "server" else Contexts.server
        tls = context.wrap_bio(incoming, outgoing, server_side=side == "client")
        peer, ours = tcp_pair()
        opening = asyncio.ensure_future(_tunnel(side, ours))
        if side == "client":
            incoming.write(await asyncio.get_running_loop().sock_recv(peer, 1 << 16))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        peer.send(outgoing.read()[:100])
        if how == FIN:
            peer.shutdown(socket.SHUT_WR)
        else:
            reset(peer)
        async with asyncio.timeout(PROMPT_S):
            with pytest.raises(TlsFailed):
                await opening
        peer.close()

    checked(test(), loop)


# Without a window.


@pytest.mark.parametrize("who", ["app", "backend"])
def test_an_app_that_nobody_reads_resets(loop: LoopFactory, who: str) -> None:
    """P39: uploads whose stream has no window are aborted: all are over, and their windows are back."""
    limits = Limits(stream_window=1 << 17, connection_window=1 << 19)
    stalled = 5

    async def test() -> None:
        async with tunnels(client_limits=limits, server_limits=limits) as pair:
            relays = [await pair.relayed(pair.first)]
            relays += [await pair.relayed() for _ in range(stalled)]
            ends = [(r.app, r.backend) if who == "app" else (r.backend, r.app) for r in relays]
            for sender, _ in ends[:stalled]:
                await pair.fill(sender)
            for sender, _ in ends[:stalled]:
                reset(sender)
            async with asyncio.timeout(PROMPT_S):
                tasks = [t for r in relays[:stalled] for t in (r.client_task, r.server_task)]
                await asyncio.wait(tasks)
            sender, reader = ends[-1]
            sender.send(LAST)
            await ended(reader, LIVES)

            assert pair.client.live == pair.server.live == 1
            for r in relays:
                r.close()

    checked(test(), loop)


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("engine", Relay)
def test_a_plaintext_peer_that_nobody_reads_resets(loop: LoopFactory, engine: Relay, who: str) -> None:
    """P39: the other side takes nothing, so that this one is not read."""

    async def test() -> None:
        client, near = tcp_pair()
        far, server = tcp_pair()
        relay = plain_relay(engine, near, far)
        async with background(relay.run()) as relaying:
            sender, other = (client, server) if who == "client" else (server, client)
            still, block = 0, bytes(1 << 16)
            while still < 20:
                try:
                    sender.send(block)
                    still = 0
                except BlockingIOError:
                    still += 1
                await asyncio.sleep(0)
            reset(sender)
            async with asyncio.timeout(PROMPT_S):
                await asyncio.wait([relaying])
                with pytest.raises(ConnectionResetError):
                    await read(other, 1 << 30)
        client.close()
        server.close()

    checked(test(), loop)


def test_a_socket_that_failed_before_is_told_of_again(loop: LoopFactory) -> None:
    """P38: what a watch is asked about a second time has its state looked at anew."""

    async def test() -> None:
        peer, sock = tcp_pair()
        watch, told = ResetWatch.of(asyncio.get_running_loop()), [0, 0]
        watch.add(sock.fileno(), lambda: told.__setitem__(0, told[0] + 1))
        peer.send(LAST)
        options.reset_on_close(peer, on=True)
        peer.close()
        await until(lambda: told[0])
        watch.add(sock.fileno(), lambda: told.__setitem__(1, told[1] + 1))
        await until(lambda: told[1])
        watch.discard(sock.fileno())

        assert told == [1, 1]
        assert sock.recv(100) == LAST
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
        sock.close()

    checked(test(), loop)
