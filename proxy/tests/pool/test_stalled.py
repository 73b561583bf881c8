"""Slow readers at the peer, as the connection, the tunnel and a new connection see them."""

from __future__ import annotations

from proxy.hbone import frames
from proxy.hbone.headers import response_headers
from proxy.tests.hbone.raw import head, raw_client
from proxy.tests.listeners.far import far
from proxy.tests.sockets import run, send, until
from proxy.tunnel.tunnel import Tunnel


def test_a_connection_is_shut_while_its_own_window_is_used_up() -> None:
    """P44: whatever its streams may send."""
    client = raw_client()
    client.receive(head(1, response_headers(200)) + frames.window_update(1, 1000), 0.0)
    stream = client.stream(1)
    shut = [client.window_shut]
    client.pack(stream, bytearray(frames.HEAD_BYTES), frames.DEFAULT_WINDOW)
    shut.append(client.window_shut)
    client.receive(frames.window_update(0, 1), 0.0)
    shut.append(client.window_shut)

    assert shut == [False, True, False]
    assert client.sendable(stream) == 1


def test_a_connection_is_carried_past_a_tunnel_whose_readers_are_slow() -> None:
    """P44: a peer such as ztunnel gives no credit for what stalled streams hold: the fifth waits for ever."""

    async def test() -> None:
        async with far() as f:
            stalled, _ = await f.connect()
            (tunnel,) = f.pod.pool._lives
            assert isinstance(tunnel, Tunnel)
            tunnel.connection._streams.send.available = 0
            assert tunnel.stalled
            neighbour, _ = await f.connect()
            await send(neighbour, b"on my way")
            await until(lambda: f.requests[-1].stream._early == b"on my way")

            assert [request.number for request in f.requests] == [0, 1]
            stalled.close()
            neighbour.close()

    run(test())
