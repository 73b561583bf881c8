"""Taps: a link's TCP frames, kept by the kernel until they are asked for, so that nobody stands in their way.

Nonces are looked for in the first frames with payload that arrive; stamps are the kernel's times of frames,
both ways, on CLOCK_REALTIME. A tap costs what it sees: with one at each end of a link a round trip of 23 us
took 2.3 us more while both its frames were kept, 0.9 us once there was no room. So it is there for a while
only; closing one takes 10 ms.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.agent.packets import ETH_P_IPV6, Instruction, packet_socket, statistics

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h
SYN = 0x02
"""TCP's flag (RFC 9293 section 3.1)."""

FIRST_BYTES = 64 * 1024
"""Room for the first frames, in which a nonce is looked for: some 100 of a probe's size."""
ROOM_BYTES = 208 * 1024
"""Room for the frames that are stamped, all of which are needed: net.core.rmem_max as Linux has it, for more
takes a right over the machine. The kernel doubles it; a small frame takes 1 KB, a connection over `lo` 8."""
FRAME_BYTES = 65_535
STAMPING_S = 2.0
"""It takes a millisecond, more on a machine with no core to spare."""
HEAD_BYTES = 120
"""Ethernet's head, IPv6's and the longest of TCP: 14 + 40 + 60, and a little."""


def _program(kept: int, *, syn: bool) -> tuple[Instruction, ...]:
    """Keeps the first bytes of TCP that carries payload, with `syn` SYNs too; no bare ACK and no bare FIN."""
    flags = SYN if syn else 0
    return (
        (0x28, 0, 0, 12),  # ldh [12]: the frame's type
        (0x15, 0, 14, 0x0800),  # jeq IPv4, else to IPv6
        (0x30, 0, 0, 23),  # ldb [23]: its protocol
        (0x15, 0, 26, 6),  # jeq TCP, else drop
        (0xB1, 0, 0, 14),  # ldx: length of the IPv4 header
        (0x50, 0, 0, 27),  # ldb [x + 27]: TCP's flags
        (0x45, 22, 0, flags),  # jset: keep
        (0x28, 0, 0, 16),  # ldh [16]: length of the packet
        (0x02, 0, 0, 0),  # st M[0]
        (0x50, 0, 0, 26),  # ldb [x + 26]: TCP's data offset, in words, in the upper half
        (0x54, 0, 0, 0xF0),  # and
        (0x74, 0, 0, 2),  # rsh: in bytes
        (0x0C, 0, 0, 0),  # add x: both headers
        (0x07, 0, 0, 0),  # tax
        (0x60, 0, 0, 0),  # ld M[0]
        (0x1D, 14, 13, 0),  # jeq x: no payload, drop; else keep
        (0x15, 0, 13, ETH_P_IPV6),  # jeq IPv6, else drop
        (0x30, 0, 0, 20),  # ldb [20]: next header
        (0x15, 0, 11, 6),  # jeq TCP, else drop
        (0x30, 0, 0, 67),  # ldb [67]: TCP's flags
        (0x45, 8, 0, flags),  # jset: keep
        (0x28, 0, 0, 18),  # ldh [18]: length behind the IPv6 header
        (0x02, 0, 0, 0),  # st M[0]
        (0x30, 0, 0, 66),  # ldb [66]: TCP's data offset
        (0x54, 0, 0, 0xF0),  # and
        (0x74, 0, 0, 2),  # rsh
        (0x07, 0, 0, 0),  # tax
        (0x60, 0, 0, 0),  # ld M[0]
        (0x1D, 1, 0, 0),  # jeq x: drop; else keep
        (0x06, 0, 0, kept),
        (0x06, 0, 0, 0),  # drop
    )


@dataclass(slots=True)
class NonceTap:
    """Keeps the first payload to arrive on a link. `open_nonce_tap` makes it inside the link's namespace."""

    socket: socket.socket

    def heard(self, nonces: Sequence[str]) -> dict[str, dict[str, int]]:
        """Nonce -> frames with payload that were kept, how many of them hold it, and those without room.

        What was kept can be asked for once.
        """
        passed, unkept = statistics(self.socket)
        frames = list(self._kept())
        return {
            nonce: {
                "frames": passed - unkept,
                "hits": sum(nonce.encode() in frame for frame in frames),
                "unkept": unkept,
            }
            for nonce in nonces
        }

    def close(self) -> None:
        """Stop."""
        self.socket.close()

    def _kept(self) -> Iterator[bytes]:
        with suppress(BlockingIOError):
            while True:
                yield self.socket.recv(FRAME_BYTES, socket.MSG_DONTWAIT)


def open_nonce_tap(link: str) -> NonceTap:
    """A tap on a link of the thread's namespace that keeps from now on.

    Raises:
        OSError: No such link, or no right to packet sockets (CAP_NET_RAW is needed).
    """
    return NonceTap(packet_socket(link, _program(FRAME_BYTES, syn=False), room_bytes=FIRST_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One TCP frame of a link: when, which way, between which ports, and what for."""

    wall_ns: int
    """CLOCK_REALTIME."""
    sent: bool
    """Whether it departed; over `lo` every frame departs and arrives."""
    source_port: int
    destination_port: int
    syn: bool
    payload: bool


@dataclass(slots=True)
class StampTap:
    """The times of a link's frames. `open_stamp_tap` makes it inside the link's namespace."""

    socket: socket.socket

    def stamps(self) -> Iterator[Stamp]:
        """What was kept, in order."""
        while True:
            try:
                data, ancillary, _, place = self.socket.recvmsg(HEAD_BYTES, 64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                    sent = place[2] == socket.PACKET_OUTGOING
                    yield _stamp(data, _nanoseconds(content), sent=sent)

    def close(self) -> None:
        """Stop, after some milliseconds; the kernel then stamps no frame any more."""
        self.socket.close()


def open_stamp_tap(link: str) -> StampTap:
    """A tap on a link of the thread's namespace that keeps from now on.

    Raises:
        OSError: As of `open_nonce_tap`, or the kernel stamps nothing.
    """
    opened = packet_socket(link, _program(HEAD_BYTES, syn=True), outgoing=True, room_bytes=ROOM_BYTES)
    opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    _await_stamping()
    return StampTap(opened)


def _await_stamping() -> None:
    """Wait until the kernel stamps frames as they pass.

    It begins a moment after it was asked to (net_enable_timestamp leaves it to a worker), and until then
    gives a frame the time at which it is read: a datagram to ourselves tells the one from the other.

    Raises:
        OSError: It has not begun.
    """
    deadline = time.monotonic() + STAMPING_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mail:
        mail.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        mail.bind(("127.0.0.1", 0))
        while time.monotonic() < deadline:
            mail.sendto(b"", mail.getsockname())
            sent_ns = time.time_ns()
            _, ancillary, _, _ = mail.recvmsg(1, 64)
            if any(_nanoseconds(content) <= sent_ns for _, _, content in ancillary):
                return
    raise OSError(errno.ETIMEDOUT, f"the kernel stamps no frames {STAMPING_S:g} s after SO_TIMESTAMPNS")


def _nanoseconds(content: bytes) -> int:
    seconds, nanoseconds = struct.unpack("qq", content)
    return int(seconds * 1_000_000_000 + nanoseconds)


def _stamp(frame: bytes, wall_ns: int, *, sent: bool) -> Stamp:
    if frame[12:14] == b"\x08\x00":
        head = (frame[14] & 0x0F) * 4
        length = int.from_bytes(frame[16:18]) - head
    else:
        head, length = 40, int.from_bytes(frame[18:20])
    tcp = frame[14 + head :]
    return Stamp(
        wall_ns=wall_ns,
        sent=sent,
        source_port=int.from_bytes(tcp[0:2]),
        destination_port=int.from_bytes(tcp[2:4]),
        syn=bool(tcp[13] & SYN),
        payload=length > (tcp[12] >> 4) * 4,
    )
