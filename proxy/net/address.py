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
def address(text: str, scope: int = 0) -> IPv4Address | IPv6Address:
    """A socket's address as a value; a mapped one (::ffff:10.0.0.1) as the IPv4 address that it is.

    Args:
        text: As the socket module writes it. The name of a scope in it is left out: names of interfaces are
            those of the process's own namespace, and the socket may belong to another.
        scope: The index of the interface on which a link-local address is meant, as sockets say it; 0: none.
            Without it nobody can connect to one.
    """
    if ":" not in text:
        return _Known4(text)
    bare = text.partition("%")[0]
    parsed = _Known6(bare)
    if parsed.ipv4_mapped:
        return _Known4(str(parsed.ipv4_mapped))
    return _Known6(f"{bare}%{scope}") if scope and parsed.is_link_local else parsed


def unscoped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address as a mesh document may have it, where interfaces mean nothing."""
    return address(str(ip)) if isinstance(ip, IPv6Address) and ip.scope_id else ip


SocketName = tuple[str, int] | tuple[str, int, int, int]
"""How the socket module wants an address and a port: IPv4's two, or IPv6's four with flow and scope."""


def socket_name(ip: IPv4Address | IPv6Address, port: int) -> SocketName:
    """To connect or bind to. Of a text with a scope in it, the socket module would lose the scope."""
    if isinstance(ip, IPv6Address) and ip.scope_id:
        return str(unscoped(ip)), port, 0, int(ip.scope_id)
    return str(ip), port
