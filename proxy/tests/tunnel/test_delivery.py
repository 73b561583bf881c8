"""P05: a tunnel that closes delivers what it has, for as long as any of it moves."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from proxy.hbone.life import State
from proxy.relay.outcome import End, Outcome
from proxy.tests.sockets import LOOPS, LoopFactory, receive_all, run, send, until
from proxy.tests.tunnel.pair import TunnelPair, tunnels
from proxy.tunnel import tunnel
from proxy.tunnel.tunnel import Timing, Tunnel

CLOSE_S = 0.02
OUTAGE_S = 20 * CLOSE_S
SIZE = 3_900_000
"""Below a stream's window, so that the app can get rid of all of it at once."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "CLOSE_S", CLOSE_S)


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


async def outage(pair: TunnelPair, receiving: Tunnel, sending: Tunnel) -> None:
    """Wait for the closing of the sending tunnel, deliver nothing for a while, and then again."""
    await until(lambda: sending.state is State.CLOSING)
    ends = pair.client.loop.time() + OUTAGE_S
    await until(lambda: pair.client.loop.time() > ends)
    receiving._channel.resume()


@pytest.mark.parametrize("ending", ["drain", "retire"])
def test_the_last_streams_bytes_arrive(loop: LoopFactory, ending: str) -> None:
    """P05: the server drains as its last stream ends, or the client's tunnel was retired; the path delivers
    nothing for many times as long as the peer's own end would be waited for."""

    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            sender, reader = (r.app, r.backend) if ending == "retire" else (r.backend, r.app)
            sides: list[Tunnel] = [pair.client, pair.server]
            sending, receiving = sides if ending == "retire" else reversed(sides)
            reader.shutdown(socket.SHUT_WR)
            assert await receive_all(sender) == b""
            if ending == "retire":
                pair.client.retire()
            else:
                pair.server.drain()
                await until(lambda: pair.server.state is State.DRAINING)
            receiving._channel.pause()
            await send(sender, bytes(SIZE))
            sender.shutdown(socket.SHUT_WR)
            relay = r.client_task if ending == "retire" else r.server_task
            assert await relay == Outcome(End.CLEAN)
            await outage(pair, receiving, sending)

            assert len(await receive_all(reader)) == SIZE
            r.close()

    run(test(), loop=loop)


def test_what_does_not_move_is_given_up(loop: LoopFactory) -> None:
    """P05: a peer that takes nothing any more holds a closing tunnel for a time, and not for ever."""

    async def test() -> None:
        async with tunnels(timing=Timing(linger_s=5 * CLOSE_S)) as pair:
            r = await pair.relayed(pair.first)
            r.app.shutdown(socket.SHUT_WR)
            assert await receive_all(r.backend) == b""
            pair.client._channel.pause()
            pair.server.retire()
            await send(r.backend, bytes(SIZE))
            r.backend.shutdown(socket.SHUT_WR)
            await r.server_task
            closing = pair.server.loop.time()
            await until(lambda: pair.server.over)
            assert pair.server.loop.time() - closing > 4 * CLOSE_S
            pair.client.abort("seen enough")
            with suppress(ConnectionResetError):
                assert len(await receive_all(r.app)) < SIZE
            r.close()

    run(test(), loop=loop)


def test_a_peer_that_has_everything_and_does_not_close_is_left(loop: LoopFactory) -> None:
    async def test() -> None:
        async with tunnels() as pair:
            await pair.request(0)
            pair.server._channel.pause()
            begun = pair.client.loop.time()
            pair.client.close()
            await until(lambda: pair.client.over)
            assert pair.client.loop.time() - begun < pair.client.timing.linger_s / 2
            pair.server.abort("seen enough")

    run(test(), loop=loop)
