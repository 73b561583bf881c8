"""A CONNECT's head, as values: what we send, and what we make of what came.

Only `:authority` decides anything. The rest (`forwarded`, `baggage`, `traceparent`) is telemetry:
any peer may write anything there, so it is read without ever failing and never used for policy.
Source: ztunnel src/proxy/h2; RFC 7239 (Forwarded), W3C Trace Context.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from secrets import token_hex

from proxy.hbone.authority import Authority, parse_authority
from proxy.hbone.errors import BadAuthority, HboneError
from proxy.hbone.events import Header

_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_FORWARDED_HOST = re.compile(r'(?:^|[;,])\s*host="?([^\s";,]{1,253})', re.IGNORECASE)
MAX_TELEMETRY = 4096
"""Longest telemetry header that is looked at."""


class BadRequest(HboneError):
    """A head that is answered with 400; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRequest:
    """A CONNECT as it came: whom it asks for, and what it says about itself."""

    authority: Authority
    traceparent: str
    raw_forwarded: bytes | None
    raw_baggage: bytes | None

    @property
    def forwarded_host(self) -> str | None:
        """The service that the app dialled, as the peer tells it."""
        text = _telemetry(self.raw_forwarded)
        match = _FORWARDED_HOST.search(text) if text is not None else None
        return match[1] if match else None

    @property
    def baggage(self) -> str | None:
        """What the peer tells of the workload."""
        return _telemetry(self.raw_baggage)


def request_headers(
    authority: str,
    *,
    source: tuple[IPv4Address | IPv6Address, int],
    service: str | None = None,
    baggage: str | None = None,
    traceparent: str | None = None,
) -> list[Header]:
    """A CONNECT's head.

    Args:
        authority: `ip:port` or `host:port`, as routing says.
        source: The app's own address, told in `forwarded`.
        service: The service's host name when it was addressed by one.
    """
    address, port = source
    spelled = f"[{address!s}]:{port}" if isinstance(address, IPv6Address) else f"{address!s}:{port}"
    forwarded = f'for="{spelled}"' + (f";host={service}" if service else "")
    headers: list[Header] = [
        (b":method", b"CONNECT"),
        (b":authority", authority.encode("ascii")),
        (b"forwarded", forwarded.encode("ascii")),
        (b"traceparent", (traceparent or new_traceparent()).encode("ascii")),
    ]
    if baggage:
        headers.append((b"baggage", baggage.encode("ascii", "replace")))
    return headers


def response_headers(status: int, *, baggage: str | None = None) -> list[Header]:
    """An answer's head."""
    headers = [(b":status", b"%d" % status)]
    if baggage:
        headers.append((b"baggage", baggage.encode("ascii", "replace")))
    return headers


def new_traceparent() -> str:
    """A trace id and span id of our own, sampled flag off."""
    random = token_hex(24)
    return f"00-{random[:32]}-{random[32:]}-00"


def parse_request(headers: list[Header]) -> ConnectRequest:
    """Read a request's head; `heads` has checked names, pseudo-headers and duplicates already.

    Raises:
        BadRequest: Not a plain CONNECT to `host:port`.
    """
    fields = dict(headers)
    method = fields.get(b":method", b"")
    if method != b"CONNECT":
        raise BadRequest(f"method {method[:16]!r}, only CONNECT is served")
    if b":protocol" in fields:
        raise BadRequest("extended CONNECT was never offered")  # RFC 8441 3
    if b"content-length" in fields or b"transfer-encoding" in fields:
        raise BadRequest("CONNECT with a body's length")  # RFC 9110 9.3.6
    raw = fields.get(b":authority", b"")
    if fields.get(b"host", raw) != raw:
        raise BadRequest("host differs from :authority")
    try:
        authority = parse_authority(raw)
    except BadAuthority as exc:
        raise BadRequest(str(exc)) from exc
    traceparent = fields.get(b"traceparent", b"")
    return ConnectRequest(
        authority=authority,
        traceparent=traceparent.decode("ascii") if _TRACEPARENT.match(traceparent) else new_traceparent(),
        raw_forwarded=fields.get(b"forwarded"),
        raw_baggage=fields.get(b"baggage"),
    )


def _telemetry(raw: bytes | None) -> str | None:
    if raw is None or len(raw) > MAX_TELEMETRY or not raw.isascii():
        return None
    text = raw.decode("ascii")
    return text if text.isprintable() else None
