"""Heads both ways; what is refused with 400, and what is merely ignored."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hbone.authority import Authority
from proxy.hbone.events import Header
from proxy.hbone.headers import BadRequest, parse_request, request_headers

CONNECT = [(b":method", b"CONNECT"), (b":authority", b"10.0.0.2:80")]


def test_request_is_read_as_it_was_written() -> None:
    headers = request_headers(
        "10.0.0.2:80",
        source=(IPv4Address("10.0.0.1"), 4711),
        service="web.bench.svc.cluster.local",
        baggage="k8s.pod.name=client",
        traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-00",
    )
    request = parse_request(headers)

    assert Authority(IPv4Address("10.0.0.2"), 80) == request.authority
    assert request.forwarded_host == "web.bench.svc.cluster.local"
    assert request.baggage == "k8s.pod.name=client"
    assert request.traceparent == "00-" + "a" * 32 + "-" + "b" * 16 + "-00"


@pytest.mark.parametrize(
    ("forwarded", "host"),
    [
        (b'for="10.0.0.1:80";host=web.ns.svc', "web.ns.svc"),
        (b'host="web.ns.svc"; for=x', "web.ns.svc"),
        (b"for=a;host=", None),
        (b"for=a;xhost=b", None),
        (b"for=a", None),
        (b"host=\xffweb", None),
        (b"host=" + b"x" * 5000, None),
        (None, None),
    ],
)
def test_the_service_that_was_dialled_is_read_from_any_text(
    forwarded: bytes | None, host: str | None
) -> None:
    """P13."""
    headers = [*CONNECT, *([(b"forwarded", forwarded)] if forwarded is not None else [])]

    assert parse_request(headers).forwarded_host == host


def test_ipv6_source_is_bracketed() -> None:
    headers = request_headers("[::2]:80", source=(IPv6Address("::1"), 5))

    assert (b"forwarded", b'for="[::1]:5"') in headers


@pytest.mark.parametrize(
    "headers",
    [
        [(b":method", b"GET"), (b":authority", b"10.0.0.2:80"), (b":scheme", b"http"), (b":path", b"/")],
        [*CONNECT, (b":protocol", b"websocket")],
        [*CONNECT, (b"content-length", b"5")],
        [*CONNECT, (b"host", b"10.0.0.3:80")],
        [(b":method", b"CONNECT"), (b":authority", b"")],
        [(b":method", b"CONNECT"), (b":authority", b"10.0.0.2:07000")],
    ],
    ids=["B50", "B62", "T20", "B63", "B52", "B53"],
)
def test_bad_request(headers: list[Header]) -> None:
    with pytest.raises(BadRequest):
        parse_request(headers)


@given(st.sampled_from([b"forwarded", b"baggage", b"traceparent"]), st.binary(max_size=200))
def test_telemetry_never_fails(name: bytes, value: bytes) -> None:
    """B67, T62."""
    request = parse_request([*CONNECT, (name, value)])

    assert Authority(IPv4Address("10.0.0.2"), 80) == request.authority
    assert len(request.traceparent) == 55
