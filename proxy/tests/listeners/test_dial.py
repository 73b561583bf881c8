"""Connecting from inside a pod."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from proxy.config import Settings
from proxy.listeners import dial
from proxy.listeners.dial import AHEAD, Dialer, Unreachable
from proxy.net import options
from proxy.net.namespace import Netns, inside
from proxy.net.sockets import connect_sockets, listen
from proxy.tests.namespaces import open_descriptors, run_in
from proxy.tests.sockets import until

pytestmark = pytest.mark.netns


@contextmanager
def dialer(netns: Netns, settings: Settings | None = None) -> Iterator[Dialer]:
    made = Dialer(netns, settings or Settings())
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    ("target", "source", "seen"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "2001:db8:7::7", "2001:db8:7::7"),
        ("127.0.0.1", "2001:db8:7::7", "127.0.0.1"),
        ("::1", "203.0.113.7", "::1"),
    ],
)
def test_the_client_is_shown_where_the_family_can_say_it(
    netns: Netns, target: str, source: str, seen: str
) -> None:
    """With the first socket, which is made on the spot, and with those that were made ahead."""

    async def run(app: socket.socket) -> list[str]:
        peers = []
        with dialer(netns) as dialing:
            for _ in range(AHEAD + 2):
                destination = (ip_address(target), app.getsockname()[1])
                with await dialing.dial(destination, source=ip_address(source)):
                    accepted, peer = app.accept()
                    accepted.close()
                    peers.append(peer[0])
                await until(lambda: not dialing._due)
        return peers

    for foreign in ("203.0.113.0/24", "2001:db8:7::/64"):
        run_in(netns, "ip", "route", "add", "local", foreign, "dev", "lo")
    with listen(netns.fd, target, 0, mark=None, transparent=False) as app:
        app.setblocking(True)

        assert asyncio.run(run(app)) == [seen] * (AHEAD + 2)


def test_sockets_made_ahead_are_as_those_made_on_the_spot(netns: Netns) -> None:
    settings = Settings(packet_mark=0x123, keepalive_idle_s=77.0)

    async def run(port: int) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        with dialer(netns, settings) as dialing:
            for _ in range(2):
                with await dialing.dial((ip_address("127.0.0.1"), port)) as sock:
                    found.append(
                        (
                            sock.getsockopt(socket.SOL_SOCKET, options.SO_MARK),
                            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                            sock.getsockopt(socket.IPPROTO_IP, options.IP_TRANSPARENT),
                        )
                    )
                await until(lambda: not dialing._due)
        return found

    with listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False) as app:
        assert asyncio.run(run(app.getsockname()[1])) == [(0x123, 1, 77, 0)] * 2


def test_nothing_made_ahead_outlives_the_dialer(netns: Netns) -> None:
    """F47: closed with sockets at hand, and closed before they were made."""

    async def run(port: int, *, at_hand: bool) -> None:
        before = open_descriptors()
        with dialer(netns) as dialing:
            with await dialing.dial((ip_address("127.0.0.1"), port)):
                pass
            if at_hand:
                await until(lambda: open_descriptors() == before + AHEAD)
        await asyncio.sleep(2 * dial.AHEAD_S)
        assert open_descriptors() == before

    with listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False) as app:
        for at_hand in (True, False):
            asyncio.run(run(app.getsockname()[1], at_hand=at_hand))


def test_without_descriptors_nothing_is_made_ahead_and_whoever_dials_is_told(
    netns: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(netns_fd: int | None, family: socket.AddressFamily, count: int, *, mark: int) -> object:
        if scarcity:
            raise OSError(24, "Too many open files")
        return connect_sockets(netns_fd, family, count, mark=mark)

    async def run(port: int) -> None:
        destination = (ip_address("127.0.0.1"), port)
        with dialer(netns) as dialing:
            (await dialing.dial(destination)).close()
            scarcity.append(True)
            await until(lambda: not dialing._due)
            with pytest.raises(Unreachable, match=r"127\.0\.0\.1:\d+: Too many open files"):
                await dialing.dial(destination)
            scarcity.clear()
            (await dialing.dial(destination)).close()

    scarcity: list[bool] = []
    monkeypatch.setattr(dial, "connect_sockets", scarce)
    with listen(netns.fd, "127.0.0.1", 0, mark=None, transparent=False) as app:
        asyncio.run(run(app.getsockname()[1]))


def test_a_link_local_destination_is_dialled_on_its_interface(netns: Netns) -> None:
    """P25: the interface's number is the pod's, whatever it is called where the proxy runs."""
    run_in(netns, "ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
    for interface in ("eth7", "eth8"):
        run_in(netns, "ip", "link", "set", interface, "up")
    run_in(netns, "ip", "address", "add", "fe80::7/64", "dev", "eth7", "nodad")
    with inside(netns.fd):
        index = socket.if_nametoindex("eth7")

    async def run(port: int) -> tuple[int, int]:
        with dialer(netns) as dialing, await dialing.dial((ip_address(f"fe80::7%{index}"), port)) as sock:
            _, reached, _, scope = sock.getpeername()
            return reached, scope

    with listen(netns.fd, "::", 0, mark=None, transparent=False) as app:
        port = app.getsockname()[1]

        assert asyncio.run(run(port)) == (port, index)
