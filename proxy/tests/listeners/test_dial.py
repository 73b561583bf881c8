"""Connecting from inside a pod."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from proxy.config import Settings
from proxy.listeners.dial import dial
from proxy.net.namespace import Netns
from proxy.net.sockets import listen
from proxy.tests.namespaces import run_in

pytestmark = pytest.mark.netns


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
    for foreign in ("203.0.113.0/24", "2001:db8:7::/64"):
        run_in(netns, "ip", "route", "add", "local", foreign, "dev", "lo")
    with listen(netns.fd, target, 0, mark=None, transparent=False) as app:
        destination = (ip_address(target), app.getsockname()[1])
        with asyncio.run(dial(netns.fd, destination, Settings(), source=ip_address(source))):
            app.setblocking(True)
            accepted, peer = app.accept()
            accepted.close()

    assert seen == peer[0]
