"""A blocking socket of the probe process: nothing else runs there, and through gevent a wait costs more."""

from __future__ import annotations

import os
import socket
import struct

from harness.load import wire
from harness.load.lane import Lane
from harness.load.supply import Supply

ANSWER_TIMEOUT_S = 5.0
"""For connect, send and each read: longer than a SYN sent twice (3 s), shorter than a cell."""
CLOSE_TIMEOUT_S = 2.0


def unconnected(lane: Lane, supply: Supply) -> socket.socket:
    """A socket of the lane's client pod, with the kernel's own time-outs: Python's would add polls."""
    sock = socket.socket(lane.family, socket.SOCK_STREAM, 0, fileno=supply.take())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _timeval(ANSWER_TIMEOUT_S))
    return sock


def connected(lane: Lane, supply: Supply) -> socket.socket:
    """The same, connected to the lane's target.

    Raises:
        OSError: It was refused, reset, or timed out.
    """
    sock = unconnected(lane, supply)
    try:
        sock.connect((lane.target.address, lane.target.port))
    except OSError:
        sock.close()
        raise
    return sock


def finish(sock: socket.socket, said: wire.Verification) -> None:
    """End our direction and wait for the peer to end its own; what goes wrong is counted."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(CLOSE_TIMEOUT_S))
    try:
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1):
            said.errors["late-bytes"] += 1
    except OSError as exc:
        said.errors[f"close-{wire.error_kind(exc)}"] += 1


class Waiting:
    """How long this process has waited for a core although it could have run: its run-queue delay.

    Source: Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat, the second figure.
    """

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/self/schedstat", os.O_RDONLY)
        except OSError:  # a kernel without CONFIG_SCHED_INFO
            self._file = None

    def total_ns(self) -> int:
        """Since the process began; 0 where the kernel does not say."""
        if self._file is None:
            return 0
        return int(os.pread(self._file, 128, 0).split()[1])


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
