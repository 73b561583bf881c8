"""Reading a JSON object strictly: every field has a type, and there are no others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network
from typing import TypeVar

from proxy.state.model import IPAddress, IPNetwork

E = TypeVar("E", bound=StrEnum)

_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_.-]{1,253}", re.ASCII)
"""What DNS names are made of, after the wildcard of a ServiceEntry's. They are sent in headers."""
_MAPPED_BITS = 96
"""Before the IPv4 address in an IPv4-mapped one, ::ffff:0:0/96. RFC 4291 section 2.5.5.2."""


class Malformed(ValueError):
    """A value has not the form that it must have; the message begins with where it is."""


def shown(value: object) -> str:
    """A value as errors quote it: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def integer(value: object, where: str, *, low: int, high: int) -> int:
    """A whole number in a range; `true` is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Malformed(f"{where}: {shown(value)} is no whole number from {low} to {high}")
    return value


def port(value: object, where: str, *, low: int = 1) -> int:
    """A port number."""
    return integer(value, where, low=low, high=65535)


def text(value: object, where: str, *, empty: bool = True) -> str:
    """A text, without control characters: names end up in log lines and headers."""
    if not isinstance(value, str) or not value.isprintable() or (not value and not empty):
        raise Malformed(f"{where}: {shown(value)} is no {'' if empty else 'non-empty '}printable text")
    return value


def host_name(value: object, where: str) -> str:
    """A host name, as it is sent: international ones in their ASCII form (`xn--...`)."""
    if not (isinstance(value, str) and _HOST_NAME.fullmatch(value)):
        raise Malformed(f"{where}: {shown(value)} is no host name of letters, digits, dots, - and _")
    return value


def address(value: object, where: str) -> IPAddress:
    """An IP address, without a scope: that would be one host's. An IPv4-mapped one is the IPv4 address."""
    try:
        read = ip_address(_unscoped(value, where))
    except ValueError as exc:
        raise Malformed(f"{where}: {shown(value)} is no IP address") from exc
    return (read.version == 6 and read.ipv4_mapped) or read


def network(value: object, where: str) -> IPNetwork:
    """A CIDR block, or one address. Host bits are allowed and cut, as ztunnel does.

    A block of IPv4-mapped addresses is the IPv4 block: sockets' addresses are IPv4 where they can be, so that
    it would match none.
    """
    try:
        written, _, _ = _unscoped(value, where).partition("/")
        first = ip_address(written)
        read = ip_network(text(value, where), strict=False)
    except ValueError as exc:
        raise Malformed(f"{where}: {shown(value)} is no CIDR block") from exc
    if not (isinstance(first, IPv6Address) and first.ipv4_mapped):
        return read
    if read.prefixlen < _MAPPED_BITS:
        raise Malformed(f"{where}: {shown(value)} is IPv4-mapped in part; expected a prefix from /96 on")
    return IPv4Network((first.ipv4_mapped, read.prefixlen - _MAPPED_BITS), strict=False)


def _unscoped(value: object, where: str) -> str:
    written = text(value, where)
    if "%" in written:
        raise ValueError("a scope means nothing outside its host")
    return written


def word(value: object, where: str, kind: type[E]) -> E:
    """One of an enumeration's words."""
    try:
        return kind(text(value, where))
    except ValueError as exc:
        known = ", ".join(sorted(kind))
        raise Malformed(f"{where}: {shown(value)}; expected one of {known}") from exc


def items(value: object, where: str) -> Iterator[tuple[object, str]]:
    """A list's items, each with where it is."""
    if not isinstance(value, list):
        raise Malformed(f"{where}: {shown(value)} is no list")
    return ((item, f"{where}[{index}]") for index, item in enumerate(value))


class Fields:
    """An object's fields, each read at most once; `end` refuses what nobody asked for."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise Malformed(f"{where}: {shown(value)} is no object")
        self.where = where
        self._left: dict[str, object] = dict(value)
        self._known: set[str] = set()

    def take(self, name: str) -> tuple[object, str] | None:
        """The field and where it is; None when it is absent or null."""
        self._known.add(name)
        value = self._left.pop(name, None)
        return None if value is None else (value, f"{self.where}.{name}")

    def need(self, name: str) -> tuple[object, str]:
        """As `take`, for a field that must be there."""
        found = self.take(name)
        if found is None:
            raise Malformed(f"{self.where}: {name} is missing")
        return found

    def text(self, name: str, default: str = "") -> str:
        """A text field."""
        found = self.take(name)
        return default if found is None else text(*found)

    def need_text(self, name: str) -> str:
        """A text field that must be there and not empty."""
        return text(*self.need(name), empty=False)

    def flag(self, name: str) -> bool:
        """A true or false field; absent is false."""
        found = self.take(name)
        if found is None:
            return False
        value, where = found
        if not isinstance(value, bool):
            raise Malformed(f"{where}: {shown(value)} is neither true nor false")
        return value

    def word(self, name: str, default: E) -> E:
        """A field with one of an enumeration's words."""
        found = self.take(name)
        return default if found is None else word(*found, type(default))

    def items(self, name: str) -> Iterator[tuple[object, str]]:
        """A list field's items; absent is empty."""
        found = self.take(name)
        return iter(()) if found is None else items(*found)

    def ports(self, name: str, *, low: int) -> dict[int, int] | None:
        """A field that maps ports to ports (keys are texts in JSON); None when absent."""
        found = self.take(name)
        return None if found is None else port_map(*found, low=low)

    def end(self) -> None:
        """Refuse fields that were not read: a misspelt one would go unheeded."""
        if self._left:
            name = min(self._left)
            raise Malformed(
                f"{self.where}: unknown field {shown(name)}; known: {', '.join(sorted(self._known))}"
            )


_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


def port_map(value: object, where: str, *, low: int) -> dict[int, int]:
    """Ports to ports; `low` 0 allows 0 as a target (each endpoint says its own)."""
    if not isinstance(value, Mapping):
        raise Malformed(f"{where}: {shown(value)} is no object")
    ports: dict[int, int] = {}
    for key, target in value.items():
        if not (isinstance(key, str) and _PORT.fullmatch(key)):
            raise Malformed(f"{where}: {shown(key)} is no port")
        ports[port(int(key), f"{where}.{key}")] = port(target, f"{where}.{key}", low=low)
    return ports
