"""Counts what has no business on a measured link: every frame that is neither ARP nor TCP.

TCP over IPv6 belongs there in a dual-stack topology alone.

A packet socket per link with a filter in the kernel; nobody reads from it, the kernel's own statistics
are the count. It looks at arriving frames alone (a tap on departing ones would make the kernel copy
each): each link has two ends, and both are watched.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from harness.agent.packets import ETH_P_IPV6, Instruction, packet_socket, statistics

_NO_TYPE = 0xFFFF_FFFF
"""What no frame's type equals."""


def _filter(*, ipv6: bool) -> tuple[Instruction, ...]:
    return (
        (0x28, 0, 0, 12),  # ldh [12]: the frame's type
        (0x15, 7, 0, 0x0806),  # jeq ARP: drop
        (0x15, 0, 2, 0x0800),  # jeq IPv4, else look on
        (0x30, 0, 0, 23),  # ldb [23]: IPv4's protocol
        (0x15, 4, 3, 6),  # jeq TCP: drop, else keep
        (0x15, 0, 2, ETH_P_IPV6 if ipv6 else _NO_TYPE),  # jeq IPv6, else keep
        (0x30, 0, 0, 20),  # ldb [20]: IPv6's next header
        (0x15, 1, 0, 6),  # jeq TCP: drop
        (0x06, 0, 0, 1),  # keep one byte
        (0x06, 0, 0, 0),  # drop
    )


@dataclass(slots=True)
class Watch:
    """One link's count. `open_watch` makes it inside the link's namespace."""

    socket: socket.socket
    seen: int = 0

    def count(self) -> int:
        """Stray frames since the watch began."""
        # reading resets the kernel's figures; its packets include the dropped ones
        self.seen += statistics(self.socket)[0]
        return self.seen

    def close(self) -> None:
        """Stop watching."""
        self.socket.close()


def open_watch(link: str, *, ipv6: bool = False) -> Watch:
    """Watch a link of the namespace that the calling thread is in; `ipv6` says that it carries IPv6 too.

    Raises:
        OSError: No such link, or no right to packet sockets (CAP_NET_RAW is needed).
    """
    return Watch(socket=packet_socket(link, _filter(ipv6=ipv6), room_bytes=0))
