"""Packet sockets: one link of the namespace that the calling thread is in, through a filter in the kernel.

A filter is classic BPF (linux/filter.h): operation, jump if true, jump if false, operand.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

_ETH_P_ALL = 3  # linux/if_ether.h
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_SOL_PACKET = 263
_PACKET_STATISTICS = 6  # linux/if_packet.h
_PACKET_IGNORE_OUTGOING = 23

Instruction = tuple[int, int, int, int]

ETH_P_IPV6 = 0x86DD


def packet_socket(
    link: str, program: Sequence[Instruction], *, outgoing: bool = False, room_bytes: int
) -> socket.socket:
    """A socket that sees the link's frames, departing ones only with `outgoing`.

    Args:
        room_bytes: Half of what the kernel keeps for whoever reads; what comes then is counted as dropped.

    Raises:
        OSError: No such link, or no right to packet sockets (CAP_NET_RAW is needed).
    """
    # protocol 0: nothing arrives before the filter is there
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, int(not outgoing))
        _attach(opened, program)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_bytes)
        opened.bind((link, _ETH_P_ALL))
    except OSError:
        opened.close()
        raise
    return opened


def statistics(opened: socket.socket) -> tuple[int, int]:
    """Frames that passed the filter since the last look, and how many of these found no room."""
    packets, dropped = struct.unpack("II", opened.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return packets, dropped


def _attach(opened: socket.socket, program: Sequence[Instruction]) -> None:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    held = ctypes.create_string_buffer(code)
    header = struct.pack("HL", len(program), ctypes.addressof(held))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
