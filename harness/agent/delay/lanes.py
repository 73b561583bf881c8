"""Packet sockets on the underlay's ports: whole frames, with what the kernel has left to do for them.

PACKET_VNET_HDR puts a virtio header before each frame. It says where a checksum is still to be filled in
and how a large frame is to be cut (TSO, GSO), so that frames travel on as they came and offloads stay
as they are on every other path.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack

VNET_HEADER_BYTES = 10
"""struct virtio_net_hdr, linux/virtio_net.h."""
FRAME_BYTES = 1 << 17
"""Room for the largest frame: 64 KiB (gso_max_size) with its headers, and as much again."""
ROOM_BYTES = 8 << 20
"""Of each socket, for frames that came while the forwarder was busy."""

_ETH_P_ALL = 3  # linux/if_ether.h
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35  # asm-generic/socket.h
_SOL_PACKET = 263
_PACKET_STATISTICS, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 6, 15, 23  # linux/if_packet.h
_TIMESPEC = struct.Struct("qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


def open_lanes(links: Sequence[str]) -> list[socket.socket]:
    """A socket on each of these links of the namespace that the calling thread is in.

    Raises:
        OSError: No such link, or no right to packet sockets (CAP_NET_RAW is needed).
    """
    with ExitStack() as undo:
        opened = []
        for link in links:
            # protocol 0: nothing arrives before all is set
            lane = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            undo.callback(lane.close)
            lane.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
            lane.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            lane.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            _make_room(lane)
            lane.bind((link, _ETH_P_ALL))
            opened.append(lane)
        undo.pop_all()
        return opened


def _make_room(lane: socket.socket) -> None:
    """As much as is wanted, or in a user namespace of an older kernel as much as the system allows."""
    try:
        lane.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, ROOM_BYTES)
    except PermissionError:
        lane.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)


def receive(lane: socket.socket) -> tuple[bytes, int | None]:
    """The next frame with its virtio header, and when the kernel had it (CLOCK_REALTIME, ns).

    Raises:
        BlockingIOError: There is none.
    """
    frame, ancillary, _, _ = lane.recvmsg(FRAME_BYTES, _ANCILLARY_BYTES)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return frame, seconds * 1_000_000_000 + nanoseconds
    return frame, None


def dropped(lane: socket.socket) -> int:
    """Frames that the kernel had no room for since the last call."""
    _, drops = struct.unpack("II", lane.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(drops)
