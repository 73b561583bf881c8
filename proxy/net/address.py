"""Addresses of sockets, as values that remember what each connection asks of them.

Every look-up by address asks for its hash, every log line and header for its text. `ipaddress` works both
out anew each time, in Python: some 20 times a connection. A node talks to few addresses, again and again.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address


class _Known4(IPv4Address):
    __slots__ = ("_hashed", "_text")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = IPv4Address.__str__(self)
        self._hashed = IPv4Address.__hash__(self)

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return self._hashed


class _Known6(IPv6Address):
    __slots__ = ("_hashed", "_text")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = IPv6Address.__str__(self)
        self._hashed = IPv6Address.__hash__(self)

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return self._hashed


@lru_cache(maxsize=4096)
def address(text: str) -> IPv4Address | IPv6Address:
    """A socket's address as a value; a mapped one (::ffff:10.0.0.1) as the IPv4 address that it is."""
    if ":" not in text:
        return _Known4(text)
    parsed = _Known6(text.partition("%")[0])
    return _Known4(str(parsed.ipv4_mapped)) if parsed.ipv4_mapped else parsed
