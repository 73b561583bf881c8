"""Whom a CONNECT may name, by the pod's address that it reached. ztunnel's inbound.rs tables."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from proxy.hbone.authority import parse_authority
from proxy.listeners.inbound import check_target
from proxy.listeners.verdict import Refused


@pytest.mark.parametrize(
    ("authority", "reached", "expected"),
    [
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1", 80),
        ("[2001:db8::1]:80", "2001:db8::1", 80),
        ("[2001:db8:0:0::1]:15020", "2001:db8::1", 15020),
    ],
)
def test_the_pod_itself_is_dialled(authority: str, reached: str, expected: int) -> None:
    address = ip_address(reached)

    assert check_target(parse_authority(authority), address) == (address, expected)


@pytest.mark.parametrize(
    ("authority", "status"),
    [
        ("10.0.0.2:80", 400),
        ("127.0.0.1:80", 400),
        ("0.0.0.0:80", 400),
        ("255.255.255.255:80", 400),
        ("224.0.0.1:80", 400),
        ("169.254.169.254:80", 400),
        ("[::1]:80", 400),
        ("[2001:db8::1]:80", 400),
        ("10.0.0.1:15001", 503),
        ("10.0.0.1:15006", 503),
        ("10.0.0.1:15008", 503),
        ("server:80", 503),
        ("server.bench.svc.cluster.local:80", 503),
    ],
)
def test_anything_else_is_refused(authority: str, status: int) -> None:
    """B57 to B60, T50, T51."""
    with pytest.raises(Refused) as caught:
        check_target(parse_authority(authority), ip_address("10.0.0.1"))

    assert caught.value.status == status
