"""The server's side of a SOCKS5 negotiation, without sockets.

    greeting --receive--> request --receive--> done (`target` is set)

The bytes behind the request are the app's. So that none is ever taken, the negotiation says how many
it still `wants`, and its caller reads no more.

Source: RFC 1928. Of its commands CONNECT alone, of its methods "no authentication" alone.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from proxy.state.model import IPAddress

VERSION: Final = 5
NO_AUTHENTICATION: Final = 0
NO_ACCEPTABLE_METHOD: Final = 0xFF
CONNECT: Final = 1
_ADDRESS_BYTES: Final = {1: 4, 4: 16}
"""Address type -> length; a name's is in its first byte."""
_NAME: Final = 3
_NAME_BYTES: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
"""What host names are made of. Names go to the access log and to the resolver; nothing else does."""


class Reply(IntEnum):
    """RFC 1928 section 6."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


def reply(code: Reply) -> bytes:
    """A reply. The bound address is left unspecified: the connection may be a stream of a tunnel."""
    return bytes((VERSION, code, 0, 1)) + bytes(6)


class NotSocks(Exception):
    """The client speaks something else, or asks for what is not there. `answer` goes back, then the end."""

    def __init__(self, message: str, *, answer: bytes = b"") -> None:
        super().__init__(message)
        self.answer = answer


class Negotiation:
    """One client's greeting and request."""

    def __init__(self) -> None:
        self.wants = 2
        """Bytes that are still missing before anything can be said; 0 when there is a target."""
        self.target: tuple[IPAddress | str, int] | None = None
        """Whom the client asks for: an address or a name, and the port."""
        self._held = bytearray()
        self._step: Callable[[Negotiation], bytes] = Negotiation._greeting
        """Not bound to `self`: what refers to itself is freed by the collector alone."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes, at most as many as `wants`; what is to be sent for them.

        Raises:
            NotSocks: This negotiation is over.
            ValueError: More than was wanted; those bytes were the app's.
        """
        if len(data) > self.wants:
            raise ValueError(f"{len(data)} bytes for {self.wants} wanted")
        self._held += data
        self.wants -= len(data)
        return b"" if self.wants else self._step(self)

    def _greeting(self) -> bytes:
        """version, number of methods"""
        version, methods = self._held
        if version != VERSION:
            raise NotSocks(f"SOCKS version {version}, expected {VERSION}")
        if not methods:
            raise NotSocks("SOCKS greeting without methods", answer=bytes((VERSION, NO_ACCEPTABLE_METHOD)))
        return self._next(methods, Negotiation._methods)

    def _methods(self) -> bytes:
        if NO_AUTHENTICATION not in self._held:
            raise NotSocks(
                "SOCKS client insists on authentication, which there is none of here",
                answer=bytes((VERSION, NO_ACCEPTABLE_METHOD)),
            )
        self._next(5, Negotiation._request)
        return bytes((VERSION, NO_AUTHENTICATION))

    def _request(self) -> bytes:
        """version, command, reserved, address type; a name's length or an address's first byte"""
        version, command, _, kind, first = self._held
        if version != VERSION:
            raise NotSocks(f"SOCKS request of version {version}, expected {VERSION}")
        if command != CONNECT:
            raise NotSocks(
                f"SOCKS command {command}, expected CONNECT", answer=reply(Reply.COMMAND_NOT_SUPPORTED)
            )
        if kind == _NAME:
            return self._next(first + 2, Negotiation._name)
        if kind not in _ADDRESS_BYTES:
            raise NotSocks(
                f"SOCKS address type {kind}, expected 1, 3 or 4",
                answer=reply(Reply.ADDRESS_TYPE_NOT_SUPPORTED),
            )
        self._next(_ADDRESS_BYTES[kind] - 1 + 2, Negotiation._address)
        self._held.append(first)
        return b""

    def _address(self) -> bytes:
        packed = bytes(self._held[:-2])
        found = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
        return self._done((found.version == 6 and found.ipv4_mapped) or found)

    def _name(self) -> bytes:
        name = bytes(self._held[:-2])
        if not name or not _NAME_BYTES.issuperset(name):
            raise NotSocks(f"SOCKS request for the name {name!r}", answer=reply(Reply.HOST_UNREACHABLE))
        return self._done(name.decode("ascii"))

    def _done(self, host: IPAddress | str) -> bytes:
        port = int.from_bytes(self._held[-2:])
        if not port:
            raise NotSocks("SOCKS request for port 0", answer=reply(Reply.GENERAL_FAILURE))
        self.target = host, port
        return b""

    def _next(self, wants: int, step: Callable[[Negotiation], bytes]) -> bytes:
        self._held.clear()
        self.wants, self._step = wants, step
        return b""
