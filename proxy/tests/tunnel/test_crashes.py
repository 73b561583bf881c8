"""P36: a bug of ours in a callback ends what it is about, is logged with its traceback and counted."""

from __future__ import annotations

import asyncio
import logging

import pytest
from h2.errors import ErrorCodes

from proxy.hbone.frames import HEAD_BYTES
from proxy.relay.copy import CopyRelay
from proxy.relay.outcome import End, Outcome
from proxy.tests.sockets import LOOPS, LoopFactory, receive_all, receive_exactly, run, send, tcp_pair, until
from proxy.tests.tunnel.pair import HEADERS, Relayed, tunnels
from proxy.tests.tunnel.test_tunnel import Seen
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import Timing


class Bug(Exception):
    """What nobody foresaw."""


def broken(*_args: object, **_given: object) -> None:
    raise Bug


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


def assert_told(caplog: pytest.LogCaptureFixture, what: str) -> None:
    (record,) = (r for r in caplog.records if r.levelno == logging.ERROR)
    assert record.message.startswith(what)
    assert record.exc_info is not None
    assert record.exc_info[0] is Bug


@pytest.mark.parametrize("where", ["on_data", "on_sendable", "_tick"])
def test_a_tunnel_whose_callback_fails_is_over(
    loop: LoopFactory, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P36: the loop would log it, and the tunnel live on without the events behind it."""

    async def test() -> None:
        async with tunnels(timing=Timing(ping_interval_s=0.05)) as pair:
            stream = await pair.request(0)
            stream.accept()
            await pair.first.answered()
            seen, other = Seen(), Seen()
            stream.attach(seen)
            second = pair.client.connect(HEADERS)
            (await pair.request(1)).accept()
            await second.answered()
            pair.requests[1].attach(other)
            if where == "_tick":
                monkeypatch.setattr(pair.server, "_tick", broken)
            else:
                monkeypatch.setattr(Seen, where, broken)
                if where == "on_sendable":
                    pair.server.wait_for_room(stream)
                    pair.server.loop.call_soon(pair.server.on_relieved)
                else:
                    pair.first.send(memoryview(bytearray(HEAD_BYTES + 1)), 1)
            await until(lambda: pair.server.over and pair.client.over)
            monkeypatch.undo()

            assert pair.server.fault == pair.server.close_reason == "internal error"
            assert pair.client.fault is None
            assert other.log[-1] == (ErrorCodes.CONNECT_ERROR, "internal error")
            assert pair.server.live == pair.client.live == 0

    with caplog.at_level(logging.ERROR):
        run(test(), loop=loop)
    assert_told(caplog, "tunnel failed unexpectedly")


def test_a_stream_that_fails_as_it_is_told_of_the_end_keeps_it_from_nobody(
    loop: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with tunnels() as pair:
            stream = await pair.request(0)
            stream.accept()
            r = await pair.relayed()
            stream.attach(Failing())
            pair.server.abort("seen enough")
            for sock in (r.app, r.backend):
                with pytest.raises(ConnectionResetError):
                    await receive_all(sock)
            r.close()

    with caplog.at_level(logging.ERROR):
        run(test(), loop=loop)
    assert_told(caplog, "stream failed unexpectedly at its end")


class Failing(Seen):
    """A receiver that cannot be told of its loss."""

    def on_reset(self, _code: int, _reason: str) -> None:
        raise Bug


@pytest.mark.parametrize("where", ["sendable", "send"])
def test_a_relay_whose_callback_fails_is_over_alone(
    loop: LoopFactory, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P36: the app's socket is read by the relay, not by the tunnel, which has others to carry."""

    async def test() -> None:
        async with tunnels() as pair:
            r, other = await pair.relayed(pair.first), await pair.relayed()
            await exchange(r)
            await exchange(other)
            with monkeypatch.context() as patched:
                patched.setattr(TunnelStream, where, broken)
                r.app.send(b"x")
                assert await r.client_task == Outcome(End.CUT, "internal error")
            for sock in (r.app, r.backend):
                with pytest.raises(ConnectionResetError):
                    await receive_all(sock)
            await exchange(other)

            assert pair.client.live == pair.server.live == 1
            r.close()
            other.close()

    with caplog.at_level(logging.ERROR):
        run(test(), loop=loop)
    assert_told(caplog, "relay failed unexpectedly")


async def exchange(r: Relayed) -> None:
    await send(r.app, b"question")
    assert await receive_exactly(r.backend, 8) == b"question"


def test_a_plaintext_relay_whose_callback_fails_is_over(
    loop: LoopFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        client, near = tcp_pair()
        far, server = tcp_pair()
        monkeypatch.setattr(CopyRelay, "on_readable", broken)
        relaying = asyncio.ensure_future(CopyRelay(asyncio.get_running_loop(), near, far).run())
        client.send(b"x")
        assert await relaying == Outcome(End.CUT, "internal error")
        for sock in (client, server):
            with pytest.raises(ConnectionResetError):
                await receive_all(sock)
            sock.close()

    with caplog.at_level(logging.ERROR):
        run(test(), loop=loop)
    assert_told(caplog, "relay failed unexpectedly")
