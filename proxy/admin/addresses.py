"""Where the proxy's own ports are: on both families, where the kernel has both."""

from __future__ import annotations

import socket

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  on a node, scrapers and probes come from elsewhere
LOCALHOST = ("127.0.0.1", "::1")


def anywhere(*, ipv6: bool) -> tuple[str, ...]:
    """The address that a listener has for all of the node's, of either family."""
    first, second = ANYWHERE
    return (second,) if ipv6 and usable(second) else (first,)


def localhost(*, ipv6: bool) -> tuple[str, ...]:
    """The addresses of localhost, one listener each."""
    first, second = LOCALHOST
    return (first, second) if ipv6 and usable(second) else (first,)


def usable(address: str) -> bool:
    """Whether the kernel has this IPv6 address: `ipv6.disable=1` or `disable_ipv6` take it away."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
