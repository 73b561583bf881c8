"""Both families where there are both, and no IPv6 where there is none (P19)."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from proxy.admin.accept import tcp_listener
from proxy.admin.addresses import anywhere, localhost
from proxy.net.namespace import Netns, inside
from proxy.tests.namespaces import run_in


def reached(port: int) -> list[str]:
    """Under which addresses of localhost there is somebody."""
    found = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as sock:
            sock.settimeout(5)
            if sock.connect_ex((address, port)) == 0:
                found.append(address)
    return found


@pytest.mark.netns
def test_one_listener_takes_both_families(netns: Netns) -> None:
    """P19: as on a node that has IPv6 alone, whose kubelet probes [podIP]:15021."""
    with inside(netns.fd):
        (address,) = anywhere(ipv6=True)
        with tcp_listener(address, 15021):
            assert reached(15021) == ["127.0.0.1", "::1"]


@pytest.mark.netns
def test_localhost_is_both_addresses_and_nothing_else(netns: Netns) -> None:
    """P19, T53."""
    run_in(netns, "ip", "address", "add", "10.1.2.3/32", "dev", "lo")
    with inside(netns.fd), ExitStack() as stack:
        for address in localhost(ipv6=True):
            stack.enter_context(tcp_listener(address, 15000))
        assert reached(15000) == ["127.0.0.1", "::1"]
        with socket.socket() as sock:
            assert sock.connect_ex(("10.1.2.3", 15000)) == errno.ECONNREFUSED


@pytest.mark.netns
def test_without_ipv6_on_the_loopback_its_address_is_left_out(netns: Netns) -> None:
    """P19: `disable_ipv6` takes the addresses away; the wildcard works all the same."""
    run_in(netns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    with inside(netns.fd):
        assert localhost(ipv6=True) == ("127.0.0.1",)
        (address,) = anywhere(ipv6=True)
        with tcp_listener(address, 15021):
            assert reached(15021) == ["127.0.0.1"]


def test_a_kernel_without_ipv6_has_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """P19: `ipv6.disable=1`."""
    made = socket.socket

    def without(family: int = socket.AF_INET, *given: Any, **further: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *given, **further)

    monkeypatch.setattr(socket, "socket", without)

    assert (anywhere(ipv6=True), localhost(ipv6=True)) == (("0.0.0.0",), ("127.0.0.1",))


def test_ipv6_can_be_switched_off() -> None:
    assert (anywhere(ipv6=False), localhost(ipv6=False)) == (("0.0.0.0",), ("127.0.0.1",))
