"""What counts as stray on a measured link: frames of every kind, put on a real one."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from harness.agent import netns
from harness.agent.stray import open_watch
from harness.tests.agent.conftest import MakeNamespace

pytestmark = pytest.mark.netns

TCP, UDP, ICMPV6 = 6, 17, 58
ETH_P_ALL = 3  # linux/if_ether.h


def _ipv4(protocol: int) -> bytes:
    return b"\x08\x00" + bytes(9) + bytes([protocol]) + bytes(30)


def _ipv6(next_header: int) -> bytes:
    return b"\x86\xdd" + bytes(6) + bytes([next_header]) + bytes(53)


FRAMES = {
    "ARP": b"\x08\x06" + bytes(46),
    "TCP over IPv4": _ipv4(TCP),
    "UDP over IPv4": _ipv4(UDP),
    "TCP over IPv6": _ipv6(TCP),
    "UDP over IPv6": _ipv6(UDP),
    "ICMP over IPv6": _ipv6(ICMPV6),
    "something else": b"\x88\xb5" + bytes(46),
}


_HEAD = b"\xff" * 6 + b"\x02" + bytes(5)
"""Destination and source."""


def counted(ipv6: bool) -> dict[str, int]:
    """Frame -> by how much a watch grew; called inside a namespace."""
    for command in (
        "ip link add near type veth peer name far",
        "ip link set near arp off",
        "ip link set far arp off",
        "sysctl -qw net.ipv6.conf.near.disable_ipv6=1 net.ipv6.conf.far.disable_ipv6=1",
        "ip link set near up",
        "ip link set far up",
    ):
        subprocess.run(command.split(), check=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of this thread: frames arrive in order
    watch = open_watch("far", ipv6=ipv6)
    found = {}
    with _packets("near") as sender, _packets("far") as receiver:
        for name, frame in FRAMES.items():
            before = watch.count()
            # ARP is never stray: where it has come, what went before it has been counted
            for each in (frame, FRAMES["ARP"]):
                sender.send(_HEAD + each)
            for _ in range(2):
                receiver.recv(64)
            found[name] = watch.count() - before
    watch.close()
    return found


def _packets(link: str) -> socket.socket:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.settimeout(10)
    packets.bind((link, ETH_P_ALL if link == "far" else 0))
    return packets


@pytest.mark.parametrize("ipv6", [False, True])
def test_tcp_over_ipv6_belongs_on_a_dual_stack_link_alone(ipv6: bool, make_namespace: MakeNamespace) -> None:
    """T72: on a link of an IPv4 testbed anything of IPv6 is a packet that passed by."""
    assert {
        "ARP": 0,
        "TCP over IPv4": 0,
        "UDP over IPv4": 1,
        "TCP over IPv6": 0 if ipv6 else 1,
        "UDP over IPv6": 1,
        "ICMP over IPv6": 1,
        "something else": 1,
    } == netns.inside(make_namespace(), lambda: counted(ipv6))
