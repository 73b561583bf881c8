"""Round trips across the underlay, as the measure of its delay: ARP, which the other kernel answers itself.

Nobody has to run at the far end, both ways go through all that TCP's packets go through, and ARP is no
stray frame on a measured link. Nobody needs the answers: every neighbour is known beforehand.
"""

from __future__ import annotations

import socket
import struct
import time

TIMEOUT_S = 5.0

_ETH_P_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
"""Ethernet's head and an ARP message of Ethernet and IPv4 (RFC 826)."""


def round_trips(*, link: str, mac: str, address: str, to_mac: str, to_address: str, count: int) -> list[int]:
    """Times of `count` round trips, one after another, ns; in the namespace that the process is in.

    Raises:
        TimeoutError: An answer did not come.
    """
    ours, theirs = _packed(mac), _packed(to_mac)
    source, target = socket.inet_aton(address), socket.inet_aton(to_address)
    request = _ARP.pack(theirs, ours, _ETH_P_ARP, 1, 0x0800, 6, 4, _REQUEST, ours, source, bytes(6), target)
    times = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as packets:
        packets.bind((link, _ETH_P_ARP))
        packets.settimeout(TIMEOUT_S)
        for done in range(count):
            sent_ns = time.monotonic_ns()
            packets.send(request)
            try:
                while not _answers(packets.recv(64), target):
                    pass
            except TimeoutError:
                raise TimeoutError(
                    f"{to_address} did not answer over {link} within {TIMEOUT_S:.0f} s, after {done} trips"
                ) from None
            times.append(time.monotonic_ns() - sent_ns)
    return times


def _answers(frame: bytes, target: bytes) -> bool:
    if len(frame) < _ARP.size:
        return False
    fields = _ARP.unpack_from(frame)
    return bool(fields[7] == _REPLY and fields[9] == target)


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
