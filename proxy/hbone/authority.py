"""A CONNECT's `:authority`, read strictly: what is dialled must not depend on a lenient parser.

Forms: `192.0.2.1:80`, `[2001:db8::1]:80`, `name.example:80`. Nothing else: no userinfo, scheme or
path, no zone, no inet_aton shorthand (`10.1`, `0x0a000001`, `010.0.0.1`), no port `0`, `080`, `+80`.
Source: RFC 9113 section 8.5 (CONNECT has host and port), RFC 1123 2.1 for names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from proxy.hbone.errors import BadAuthority

MAX_AUTHORITY = 253 + 6
"""The longest name and `:65535`."""

_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom a CONNECT asks for: an address, or a name in lower case without a final dot."""

    host: IPv4Address | IPv6Address | str
    port: int

    def __str__(self) -> str:
        return (
            f"[{self.host!s}]:{self.port}"
            if isinstance(self.host, IPv6Address)
            else f"{self.host!s}:{self.port}"
        )


@lru_cache(maxsize=1024)
def parse_authority(raw: bytes | str) -> Authority:
    """Read an authority. Remembered by content: peers ask for the same few again and again.

    IPv4-mapped IPv6 addresses come out as IPv4, so that they cannot name a pod in a second way.

    Raises:
        BadAuthority: Not one of the forms above.
    """
    text = _ascii(raw)
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        raise BadAuthority(f"authority {text!r}: expected host:port")
    if not _PORT.match(port_text) or int(port_text) > 65_535:
        raise BadAuthority(f"authority {text!r}: port {port_text!r} is not a number from 1 to 65535")
    return Authority(_host(host, text), int(port_text))


def _ascii(raw: bytes | str) -> str:
    if len(raw) > MAX_AUTHORITY:
        raise BadAuthority(f"authority of {len(raw)} bytes: at most {MAX_AUTHORITY}")
    try:
        return raw.decode("ascii") if isinstance(raw, bytes) else raw.encode("ascii").decode("ascii")
    except UnicodeError:
        raise BadAuthority(f"authority {raw!r}: not ASCII") from None


def _host(host: str, text: str) -> IPv4Address | IPv6Address | str:
    if host.startswith("["):
        if not host.endswith("]") or "%" in host:
            raise BadAuthority(f"authority {text!r}: expected [IPv6 address] without a zone")
        try:
            v6 = IPv6Address(host[1:-1])
        except AddressValueError as exc:
            raise BadAuthority(f"authority {text!r}: {exc}") from None
        return v6.ipv4_mapped or v6
    try:
        return IPv4Address(host)
    except AddressValueError:
        return _name(host, text)


def _name(host: str, text: str) -> str:
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        raise BadAuthority(f"authority {text!r}: {host!r} is neither an address nor a name")
    if _NUMERIC.match(labels[-1]):
        # WHATWG URL, "ends in a number": libraries disagree on which address this would be.
        raise BadAuthority(f"authority {text!r}: {host!r} looks like an address but is not one")
    return name
