"""What the kernel tells of the other end of a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from proxy.net import original_destination
from proxy.net.address import address
from proxy.net.ends import TCP_CLOSE, TCP_CLOSE_WAIT, SocketAddress, closed_by_its_process, tcp_state
from proxy.routing import OUTBOUND_PORT
from proxy.tests.sockets import reset, run, tcp_pair, until

ESTABLISHED = 1


def end_half(app: socket.socket) -> None:
    app.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("unread", [b"", b"unread"])
@pytest.mark.parametrize(
    ("end", "state", "closed"),
    [
        (lambda _: None, ESTABLISHED, False),
        (end_half, TCP_CLOSE_WAIT, False),
        (socket.socket.close, TCP_CLOSE_WAIT, True),
        (reset, TCP_CLOSE, False),
    ],
    ids=["lives", "half a close", "close", "reset"],
)
def test_an_end_is_seen_behind_unread_bytes_and_a_close_told_from_half_of_one(
    end: Callable[[socket.socket], None], state: int, closed: bool, unread: bytes
) -> None:
    """P41: nothing is read, and a close and half a close send the same FIN."""

    async def test() -> None:
        app, near = tcp_pair()
        with near, app:
            addresses = named(app.getsockname()), named(app.getpeername())
            app.send(unread)
            end(app)
            await until(lambda: tcp_state(near) == state)

            assert closed_by_its_process(None, *addresses) is closed

    run(test())


def named(raw: tuple[str, int]) -> SocketAddress:
    return address(raw[0]), raw[1]


def test_what_is_not_of_this_host_is_not_known_to_be_closed() -> None:
    nowhere = address("192.0.2.1"), 1

    assert not closed_by_its_process(None, nowhere, nowhere)
    assert not closed_by_its_process(None, (address("2001:db8::1"), 1), (address("2001:db8::2"), 1))


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_an_app_is_found_by_what_a_listener_of_both_families_knows_of_it(
    host: str, family: socket.AddressFamily
) -> None:
    """P41: which sees an IPv4 app by a mapped address."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        app = socket.socket(family)
        app.connect((host, listener.getsockname()[1]))
        near, _ = listener.accept()
        with near, app:
            addresses = named(near.getpeername()[:2]), original_destination(near, OUTBOUND_PORT)
            app.shutdown(socket.SHUT_WR)
            half = closed_by_its_process(None, *addresses)
            app.close()

            assert (half, closed_by_its_process(None, *addresses)) == (False, True)
