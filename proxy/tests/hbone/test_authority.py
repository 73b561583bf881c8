"""B50 to B63: what is and is not an authority."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from proxy.hbone.authority import Authority, parse_authority
from proxy.hbone.errors import BadAuthority


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("10.0.0.1:80", Authority(IPv4Address("10.0.0.1"), 80)),
        ("10.0.0.1:65535", Authority(IPv4Address("10.0.0.1"), 65535)),
        ("[::1]:80", Authority(IPv6Address("::1"), 80)),
        ("[2001:DB8::1]:443", Authority(IPv6Address("2001:db8::1"), 443)),
        ("[::ffff:10.0.0.1]:80", Authority(IPv4Address("10.0.0.1"), 80)),
        ("server.bench.svc.cluster.local:8080", Authority("server.bench.svc.cluster.local", 8080)),
        ("Server.Example.:8080", Authority("server.example", 8080)),
        ("localhost:1", Authority("localhost", 1)),
    ],
)
def test_authority_is_read(raw: str, expected: Authority) -> None:
    assert expected == parse_authority(raw.encode())
    assert parse_authority(str(expected)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"", b":", b":80", b"10.0.0.1", b"10.0.0.1:", b"10.0.0.1:0", b"10.0.0.1:99999", b"10.0.0.1:65536",
        b"10.0.0.1:-1", b"10.0.0.1:+80", b"10.0.0.1:080", b"10.0.0.1:07000", b"10.0.0.1:8O", b"10.0.0.1:80 ",
        b" 10.0.0.1:80", b"10.0.0.1:80\n", b"10.0.0.1:80:80", "10.0.0.1:٨٠".encode(),
        b"user@10.0.0.1:80", b"http://10.0.0.1:80", b"10.0.0.1:80/path", b"10.0.0.1:80?q", b"10.0.0.1:80#f",
        b"010.0.0.1:80", b"0x0a000001:80", b"167772161:80", b"10.1:80", b"10.0.0.256:80", b"10.0.0.1.:80",
        b"1.2.3.4.5:80", b"a.0x1:80",
        b"::1:80", b"[::1]", b"[::1:80", b"::1]:80", b"[fe80::1%eth0]:80", b"[fe80::1%25eth0]:80", b"[]:80",
        b"[10.0.0.1]:80", b"[::1]x:80", b"[[::1]]:80",
        b"a..b:80", b".a:80", b"-a:80", b"a-:80", b"a b:80", b"a\0b:80", b"a,b:80", "büro.de:80".encode(),
        b"a" * 64 + b":80", b".".join([b"a" * 62] * 5) + b":80", b"a" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(BadAuthority):
        parse_authority(raw)
