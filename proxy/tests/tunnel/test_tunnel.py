"""Tunnels over real TLS and sockets: ends, resets, back-pressure, drain, deadlines, identities."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import socket
import ssl
import tracemalloc
from collections.abc import Awaitable
from hashlib import sha256
from typing import Any

import pytest
from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.connection import Side
from proxy.hbone.frames import HEAD_BYTES, FrameType
from proxy.hbone.limits import Limits
from proxy.identity.contexts import client_context
from proxy.identity.peer import IdentityMismatch
from proxy.identity.spiffe import SpiffeId
from proxy.relay.outcome import End, Outcome
from proxy.telemetry import Stats
from proxy.tests.ca import CLIENT, SERVER, Ca, pem
from proxy.tests.sockets import (
    LOOPS,
    LoopFactory,
    receive_all,
    receive_exactly,
    reset,
    run,
    send,
    tcp_pair,
    until,
)
from proxy.tests.tunnel.pair import CA, HEADERS, Contexts, tunnels
from proxy.tunnel import client as client_side
from proxy.tunnel.client import ClientTunnel
from proxy.tunnel.errors import ConnectRefused, StreamLost, TlsFailed, TunnelLost
from proxy.tunnel.handshake import shake_hands
from proxy.tunnel.server import ServerTunnel
from proxy.tunnel.tunnel import Timing

QUICK = Timing(handshake_s=1.0, ping_interval_s=0.05, ping_timeout_s=0.1)


def test_both_sides_know_each_other_and_nothing_was_resumed() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            assert (pair.client.peer, pair.server.peer) == (SERVER, CLIENT)
            assert pair.stats.tls_handshakes_client == pair.stats.tls_handshakes_server == 1
            assert pair.stats.tls_resumptions == 0

    run(test())


def test_bytes_arrive_both_ways_and_both_ends_are_clean() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            await send(r.app, b"question")
            r.app.shutdown(socket.SHUT_WR)
            assert await receive_all(r.backend) == b"question"
            await send(r.backend, b"answer")
            r.backend.shutdown(socket.SHUT_WR)
            assert await receive_all(r.app) == b"answer"

            assert await r.client_task == await r.server_task == Outcome(End.CLEAN)
            assert (r.client.uploaded, r.client.downloaded) == (8, 6)
            assert pair.client.live == pair.server.live == 0
            r.close()

    run(test())


@pytest.mark.parametrize("first", ["app", "backend"])
def test_half_close_lets_late_data_through(first: str) -> None:
    """F10."""

    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            early, late = (r.app, r.backend) if first == "app" else (r.backend, r.app)
            payload = os.urandom(10 * 1024 * 1024)
            early.shutdown(socket.SHUT_WR)
            assert await receive_all(late) == b""
            async with asyncio.TaskGroup() as group:
                group.create_task(send(late, payload))
                received = await receive_exactly(early, len(payload))
            late.shutdown(socket.SHUT_WR)

            assert sha256(received).digest() == sha256(payload).digest()
            assert await receive_all(early) == b""
            assert await r.client_task == await r.server_task == Outcome(End.CLEAN)
            r.close()

    run(test())


@pytest.mark.parametrize(("who", "code"), [("app", ErrorCodes.CANCEL), ("backend", ErrorCodes.CONNECT_ERROR)])
def test_reset_stays_a_reset_and_leaves_other_streams_alone(who: str, code: ErrorCodes) -> None:
    """F09, I6; RFC 9113 8.5: TCP RST is RST_STREAM with CONNECT_ERROR."""

    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            other = await pair.relayed()
            await send(r.app, b"x")
            await receive_exactly(r.backend, 1)
            reset(getattr(r, who))
            with pytest.raises(ConnectionResetError):
                await receive_all(r.backend if who == "app" else r.app)
            outcome = await (r.server_task if who == "app" else r.client_task)
            await send(other.app, b"still here")

            assert outcome.end is End.FAR_RESET
            assert outcome.detail is not None
            assert code.name in outcome.detail
            assert await receive_exactly(other.backend, 10) == b"still here"
            assert pair.client.live == pair.server.live == 1
            r.close()
            other.close()

    run(test())


def test_lost_tunnel_is_a_reset_for_every_app() -> None:
    """F02, I6: a tunnel that breaks without END_STREAM must not look like an end."""

    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            await send(r.app, b"x")
            await receive_exactly(r.backend, 1)
            pair.server.abort("killed")
            for sock in (r.app, r.backend):
                with pytest.raises(ConnectionResetError):
                    await receive_all(sock)
            await until(lambda: pair.client.over)
            r.close()

    run(test())


def test_slow_reader_stops_its_sender_and_no_other() -> None:
    """F12: memory is bounded by the stream's window, other streams flow."""

    async def test() -> None:
        limits = Limits(stream_window=128 * 1024, connection_window=1024 * 1024)
        async with tunnels(server_limits=limits) as pair:
            slow, quick = await pair.relayed(pair.first), await pair.relayed()
            sending = asyncio.ensure_future(send(slow.app, bytes(64 * 1024 * 1024)))
            payload = os.urandom(8 * 1024 * 1024)
            async with asyncio.TaskGroup() as group:
                group.create_task(send(quick.app, payload))
                received = await receive_exactly(quick.backend, len(payload))

            assert received == payload
            assert not sending.done()
            assert slow.server._app.queued <= 128 * 1024
            sending.cancel()
            slow.close()
            quick.close()

    run(test())


def test_a_connect_that_nobody_answers_is_given_up_and_the_tunnel_takes_no_more() -> None:
    """P24: its peer may be gone. Streams that live go on."""

    async def test() -> None:
        async with tunnels(timing=Timing(answer_s=0.5)) as pair:
            far = await pair.request(0)
            await until(lambda: pair.client.ready)
            second = pair.client.connect(HEADERS)
            (await pair.request(1)).accept()
            await second.answered()
            with pytest.raises(StreamLost, match=r"no answer to CONNECT in 0\.5 s"):
                await pair.first.answered()
            await until(lambda: far.lost)

            assert (pair.client.usable, pair.client.over, second.lost) == (False, False, False)
            second.reset(ErrorCodes.CANCEL)
            await until(lambda: pair.client.over)

    run(test())


def test_early_data_waits_for_the_relay() -> None:
    """T18: nothing is lost that came between the answer and the relay."""

    async def test() -> None:
        async with tunnels() as pair:
            far = await pair.request(0)
            far.accept()
            await pair.first.answered()
            frame = memoryview(bytearray(9) + b"early")
            pair.first.send(frame, 5)
            pair.first.end()
            await until(lambda: far._ended)
            seen = Seen()
            far.attach(seen)

            assert seen.log == [b"early", "ended"]
            far.credit(5)
            far.end()

    run(test())


def test_a_lone_stream_sends_at_once_and_several_share_a_write() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            (await pair.request(0)).accept()
            await pair.first.answered()
            frame, unsent = memoryview(bytearray(9) + b"bytes"), pair.client._channel._outgoing
            pair.first.send(frame, 5, last=True)
            assert not unsent.pending
            pair.first.send(frame, 5)
            assert unsent.pending
            await until(lambda: not unsent.pending)

            second = pair.client.connect(HEADERS)
            (await pair.request(1)).accept()
            await second.answered()
            for stream in (pair.first, second):
                stream.send(frame, 5, last=True)
                assert unsent.pending
            await until(lambda: not unsent.pending)

    run(test())


class Seen:
    """A receiver that notes what it is told."""

    def __init__(self) -> None:
        self.log: list[object] = []

    def on_data(self, payload: memoryview | bytearray) -> None:
        self.log.append(bytes(payload))

    def on_ended(self) -> None:
        self.log.append("ended")

    def on_reset(self, code: int, reason: str) -> None:
        self.log.append((code, reason))

    def on_sendable(self) -> None:
        self.log.append("sendable")


def test_refusal_reaches_the_caller() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            (await pair.request(0)).refuse(401)
            with pytest.raises(ConnectRefused) as caught:
                await pair.first.answered()

            assert caught.value.status == 401
            await until(lambda: pair.server.live == 0)
            assert pair.client.live == 0
            assert pair.client.usable

    run(test())


def test_stream_lost_before_its_answer_is_told_to_the_caller() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            (await pair.request(0)).reset(ErrorCodes.REFUSED_STREAM)
            with pytest.raises(StreamLost) as caught:
                await pair.first.answered()

            assert caught.value.code == ErrorCodes.REFUSED_STREAM

    run(test())


@pytest.mark.parametrize("answer", [True, False])
def test_cancelled_caller_takes_its_request_back(*, answer: bool) -> None:
    """P02: a server counts none of them, however many apps give up before their answer."""

    async def test() -> None:
        async with tunnels() as pair:
            waiting = asyncio.ensure_future(pair.first.answered())
            far = await pair.request(0)
            await until(lambda: pair.first._answer)
            waiting.cancel()
            await asyncio.wait([waiting])
            if answer:
                far.accept()
            await until(lambda: far.lost)

            budget = pair.server.connection._receiver._resets
            assert budget.tokens == budget.rate.burst
            assert pair.client.live == pair.server.live == 0

    run(test())


def test_drain_lets_live_streams_finish_and_then_closes() -> None:
    """T23, F04."""

    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            pair.server.drain()
            await until(lambda: not pair.client.usable)
            await send(r.app, b"late")
            r.app.shutdown(socket.SHUT_WR)
            assert await receive_all(r.backend) == b"late"
            await send(r.backend, b"later")
            r.backend.shutdown(socket.SHUT_WR)
            assert await receive_all(r.app) == b"later"
            await until(lambda: pair.client.over and pair.server.over)

            assert pair.server.close_reason is None
            r.close()

    run(test())


@pytest.mark.parametrize("ending", ["retire", "drain"])
def test_streams_that_end_together_all_end_before_the_tunnel_closes(ending: str) -> None:
    """T39, F04: two END_STREAMs in one read; the second must not meet a tunnel closed by the first."""

    async def test() -> None:
        async with tunnels() as pair:
            one = await pair.relayed(pair.first)
            two = await pair.relayed()
            pair.client.retire() if ending == "retire" else pair.server.drain()
            for r in (one, two):
                r.app.shutdown(socket.SHUT_WR)
                assert await receive_all(r.backend) == b""
            for r in (one, two):
                r.backend.send(b"last")
                r.backend.shutdown(socket.SHUT_WR)  # both are read in one turn, and leave at its end

            for r in (one, two):
                assert await receive_all(r.app) == b"last"
                r.close()

    run(test())


def test_idle_tunnel_closes_as_soon_as_it_drains() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            (await pair.request(0)).refuse(503)
            with pytest.raises(ConnectRefused):
                await pair.first.answered()
            pair.client.drain()
            await until(lambda: pair.client.over and pair.server.over)

    run(test())


def test_opener_asks_with_its_finished() -> None:
    """A cold first byte is 4 round trips: the request is in the same segment as the client's last
    flight. The peer here takes one segment at a time and answers none before it has both."""

    async def test() -> None:
        client, accepted = tcp_pair()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = Contexts.server.wrap_bio(incoming, outgoing, server_side=True)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(connect(client, Contexts.client))
            incoming.write(await loop.sock_recv(accepted, 1 << 16))
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            await send(accepted, outgoing.read())
            incoming.write(await loop.sock_recv(accepted, 1 << 16))
            tls.do_handshake()
            first = tls.read(1 << 16)
            (await opening).abort("seen enough")
        accepted.close()

        assert first.startswith(b"PRI * HTTP/2.0")
        assert FrameType.HEADERS in types(first[len(frames.PREFACE) :])

    run(test())


def types(stream: bytes) -> list[int]:
    found, position = [], 0
    while position < len(stream):
        length, kind, _, _ = frames.parse_head(stream, position)
        found.append(kind)
        position += 9 + length
    return found


@pytest.mark.parametrize("silent", ["before TLS", "half a hello"])
def test_handshake_has_a_deadline(silent: str) -> None:
    """T15, B70."""

    async def test() -> None:
        client, accepted = tcp_pair()
        if silent == "half a hello":
            client.send(b"\x16\x03\x01\x02\x00\x01\x00")
        with client, pytest.raises(TlsFailed, match="not complete"):
            await accept(accepted, timing=QUICK)

    run(test())


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"\0" * 100])
def test_no_tls_is_refused_at_once(first: bytes) -> None:
    """B70."""

    async def test() -> None:
        client, accepted = tcp_pair()
        client.send(first)
        with client, pytest.raises(TlsFailed):
            await accept(accepted)

    run(test())


async def accept(sock: socket.socket, *, timing: Timing | None = None) -> ServerTunnel:
    return await ServerTunnel.accept(
        sock,
        Contexts.server,
        trust_domains=frozenset({"cluster.local"}),
        limits=Limits(),
        timing=timing or Timing(),
        stats=Stats(),
    )


async def connect(sock: socket.socket, context: ssl.SSLContext, expected: object = SERVER) -> ClientTunnel:
    tunnel, _ = await ClientTunnel.open(
        sock,
        context,
        expected=frozenset({str(expected)}),
        headers=HEADERS,
        limits=Limits(),
        timing=Timing(),
        stats=Stats(),
    )
    return tunnel


def test_peer_that_never_speaks_after_tls_is_dropped() -> None:
    """T15: TLS but no preface, no SETTINGS, no request."""

    async def test() -> None:
        client, accepted = tcp_pair()

        def handshake_only() -> None:
            client.setblocking(True)
            with Contexts.client.wrap_socket(client) as tls:
                tls.recv(1 << 16)  # its SETTINGS
                while tls.recv(1 << 16):
                    pass

        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(handshake_only))
            tunnel = await accept(accepted, timing=Timing(handshake_s=1.0))
            tunnel.requested = lambda _stream, _headers: None
            tunnel.start()
            await until(lambda: tunnel.over)

        assert tunnel.close_reason is not None
        assert re.fullmatch(r"(no SETTINGS|a frame not complete) after 1 s", tunnel.close_reason)

    run(test())


def test_silent_peer_is_given_up() -> None:
    """F06: PING without an answer."""

    async def test() -> None:
        async with tunnels(timing=Timing(ping_interval_s=0.05, ping_timeout_s=0.1)) as pair:
            pair.server._channel.abort()
            pair.server._stop_timer()
            pair.server._finish("test took its socket")
            await until(lambda: pair.client.over)

            assert pair.client.close_reason

    run(test())


def test_pings_keep_a_quiet_tunnel() -> None:
    async def test() -> None:
        async with tunnels(timing=Timing(ping_interval_s=0.01, ping_timeout_s=5)) as pair:
            await pair.request(0)
            pinged = pair.client._keepalive.pinged_at
            await until(lambda: pair.client._keepalive.pinged_at > pinged + 0.05)

            assert not pair.client.over

    run(test())


def test_server_of_another_identity_is_left_before_anything_is_said() -> None:
    """T32, B91."""

    async def test() -> None:
        client, accepted = tcp_pair()
        async with asyncio.TaskGroup() as group:
            accepting = group.create_task(expect_failure(accept(accepted)))
            with pytest.raises(IdentityMismatch, match=r"expected spiffe://cluster\.local/ns/bench/sa/other"):
                await connect(client, Contexts.client, SpiffeId("cluster.local", "bench", "other"))
            await accepting

    run(test())


async def expect_failure(work: Awaitable[ServerTunnel]) -> None:
    with pytest.raises((TlsFailed, IdentityMismatch)):
        await work


def test_client_of_another_trust_domain_is_reset() -> None:
    """T33."""

    async def test() -> None:
        client, accepted = tcp_pair()
        foreign = client_context(CA.certificate(SpiffeId("elsewhere", "bench", "client")))
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(connect(client, foreign))
            with pytest.raises(IdentityMismatch, match="elsewhere"):
                await accept(accepted)
            tunnel = await opening
            await until(lambda: tunnel.over)

        assert tunnel.close_reason

    run(test())


def test_client_of_another_root_is_refused() -> None:
    """T31; the client only learns it when it reads: TLS 1.3 tells it that it is connected first."""

    async def test() -> None:
        client, accepted = tcp_pair()
        context = client_context(Ca("another root").certificate(CLIENT))
        context.load_verify_locations(cadata=pem(CA.root))
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(connect(client, context))
            with pytest.raises(TlsFailed, match=r"(?i)verify"):
                await accept(accepted)
            tunnel = await opening
            await until(lambda: tunnel.over)

    run(test())


def test_protocol_error_ends_the_tunnel_with_goaway() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            await pair.request(0)
            pair.client._channel.write(b"\0\0\1\0\0\0\0\0\0x")  # DATA on stream 0
            await until(lambda: pair.server.over and pair.client.over)

            assert "DATA on stream 0" in (pair.server.close_reason or "")

    run(test())


@pytest.mark.parametrize("loop", list(LOOPS.values()), ids=list(LOOPS))
@pytest.mark.parametrize("side", ["client", "server"])
def test_reset_between_the_handshake_and_the_first_write(
    loop: LoopFactory, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: the tunnel is lost, and whoever opened it is told so; a server's is over as it starts."""
    real = shake_hands

    async def test() -> None:
        ours, peer = tcp_pair()
        near, far = (ours, peer) if side == "client" else (peer, ours)
        accepting = asyncio.ensure_future(real(far, Contexts.server, Side.SERVER, **given(CLIENT)))

        async def then_reset(*args: Any, **kwargs: Any) -> Any:
            shaken = await real(*args, **kwargs)
            channel, _ = shaken
            if side == "client":
                channel.flush()  # its Finished: the peer's handshake is complete as well
                (await accepting)[0].reset()
                await until(lambda: tcp_state(ours) == TCP_CLOSE)
            return shaken

        monkeypatch.setattr(client_side, "shake_hands", then_reset)
        if side == "client":
            with pytest.raises(TunnelLost, match="reset by peer"):
                await connect(near, Contexts.client)
            return
        channel, _ = await real(near, Contexts.client, Side.CLIENT, **given(SERVER))
        channel.flush()
        await accepting
        tunnel = ServerTunnel(
            asyncio.get_running_loop(),
            accepting.result()[0],
            side=Side.SERVER,
            limits=Limits(),
            timing=Timing(),
            peer=CLIENT,
        )
        told: list[bool] = []
        tunnel.on_closed = lambda: told.append(tunnel.over)
        channel.reset()
        await until(lambda: tcp_state(ours) == TCP_CLOSE)
        tunnel.connection.start()
        tunnel.start()

        assert told == [True]
        assert tunnel.close_reason == "Connection reset by peer"
        assert tunnel._timer is None

    run(test(), loop=loop)


def given(peer: SpiffeId) -> dict[str, Any]:
    return {"verify": lambda _leaf: peer, "timeout_s": 5.0, "stats": Stats()}


TCP_CLOSE = 7


def tcp_state(sock: socket.socket) -> int:
    """As in linux/tcp_states.h."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


@pytest.mark.parametrize("end", ["close_notify", "RST"])
def test_the_peers_own_reason_is_the_tunnels(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """P37: a peer that had enough says why, and the log has it, as have those whose streams are lost."""

    async def test() -> None:
        async with tunnels() as pair:
            await pair.request(0)
            payload = (1).to_bytes(4) + ErrorCodes.ENHANCE_YOUR_CALM.to_bytes(4) + b"too_many\nresets"
            pair.server._channel.write(frames.frame(FrameType.GOAWAY, 0, 0, payload))
            if end == "RST":
                pair.server._channel.flush()
                pair.server.abort("seen enough")
            else:
                pair.server._channel._records.close_notify()
                pair.server._channel.flush()
            await until(lambda: pair.client.over)
            pair.server.abort("seen enough")
            why = "after GOAWAY ENHANCE_YOUR_CALM (too_many?resets)"
            with pytest.raises(StreamLost, match=re.escape(why)):
                await pair.first.answered()

            before = "closed by the peer" if end == "close_notify" else "Connection reset by peer"
            assert pair.client.close_reason == f"{before} {why}"

    run(test())
    assert "code=ENHANCE_YOUR_CALM debug='too_many?resets'" in caplog.text


def test_hundreds_of_megabytes_through_one_stream() -> None:
    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            block = os.urandom(4 << 20)
            count = 64
            sent, received = sha256(), sha256()

            async def push() -> None:
                for _ in range(count):
                    sent.update(block)
                    await send(r.app, block)
                r.app.shutdown(socket.SHUT_WR)

            async with asyncio.TaskGroup() as group:
                group.create_task(push())
                total = 0
                loop = asyncio.get_running_loop()
                while part := await loop.sock_recv(r.backend, 1 << 20):
                    received.update(part)
                    total += len(part)
            r.backend.shutdown(socket.SHUT_WR)

            assert total == count * len(block)
            assert received.digest() == sent.digest()
            assert await r.client_task == Outcome(End.CLEAN)
            r.close()

    run(test())


def test_tiny_frames_take_a_few_bytes_a_byte() -> None:
    """T09, RUSTSEC-2026-0258: one byte a frame that nobody reads; real ztunnel holds 467 bytes for each."""
    count = 30_000

    async def test() -> None:
        async with tunnels() as pair:
            stream = await pair.request(0)
            stream.accept()
            await pair.first.answered()
            frame = memoryview(bytearray(HEAD_BYTES + 1))
            tracemalloc.start()
            try:
                before, _ = tracemalloc.get_traced_memory()
                for _ in range(count // 100):
                    for _ in range(100):
                        pair.first.send(frame, 1)
                    await asyncio.sleep(0)
                await until(lambda: stream.state.receive.held == count)
                gc.collect()
                after, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            stream.reset(ErrorCodes.CANCEL)

            assert after - before < 10 * count

    run(test())
