"""The delay line as a process: takes frames off the underlay's ports and puts them back when they are due.

`python3 -m harness.agent.delay.forwarder --board FD --lanes FD,FD --behind MAC,MAC` ends when its
standard input does, hence with the agent, however that ends. It is handed open sockets and needs no
right of its own. A frame's wait begins when the kernel had it, so a busy machine delays only what is
late in leaving.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import select
import socket
import sys
from collections.abc import Mapping, Sequence
from time import monotonic_ns, time_ns

from harness.agent.delay.board import Board
from harness.agent.delay.lanes import VNET_HEADER_BYTES, receive
from harness.agent.delay.waiting import Waiting

AWAKE_NS = 60_000
"""How long before a frame is due the process no longer sleeps: it wakes within about 50 us."""
BATCH = 64
"""Frames taken from one port before those that are due go on."""

_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_MAC_BYTES = 6


class Forwarder:
    """The ports, the queue between them, and the board."""

    def __init__(self, lanes: Sequence[socket.socket], behind: Mapping[bytes, int], board: Board) -> None:
        self._lanes = lanes
        self._behind = behind
        self._board = board
        self._waiting = Waiting()

    def run(self, alive: int) -> None:
        """Forward until the descriptor `alive` becomes readable."""
        indices = {lane.fileno(): index for index, lane in enumerate(self._lanes)}
        while True:
            ready, _, _ = select.select([*indices, alive], [], [], self._sleep_s())
            if alive in ready:
                return
            for descriptor in ready:
                self._take_in(indices[descriptor])
            self._send_due()

    def _sleep_s(self) -> float | None:
        next_ns = self._waiting.next_ns
        return None if next_ns is None else max(next_ns - AWAKE_NS - monotonic_ns(), 0) / 1e9

    def _take_in(self, index: int) -> None:
        for _ in range(BATCH):
            try:
                frame, real_ns = receive(self._lanes[index])
            except BlockingIOError:
                return
            except OSError:  # the port went down; what it had is the kernel's loss, and counted there
                return
            waited_ns = 0 if real_ns is None else max(time_ns() - real_ns, 0)
            if not self._waiting.put(monotonic_ns() - waited_ns + self._board.delay_ns, index, frame):
                self._board.lose()

    def _send_due(self) -> None:
        while due := self._waiting.take(monotonic_ns()):
            due_ns, came_by, frame = due
            for index in self._ways(came_by, frame):
                try:
                    self._lanes[index].send(frame)
                except OSError:  # no buffer, or the port is down
                    self._board.lose()
            self._board.carry(monotonic_ns() - due_ns)

    def _ways(self, came_by: int, frame: bytes) -> list[int]:
        """The port behind which the frame's destination is; all others where nobody knows it."""
        known = self._behind.get(frame[VNET_HEADER_BYTES : VNET_HEADER_BYTES + _MAC_BYTES])
        ways = range(len(self._lanes)) if known is None else [known]
        return [index for index in ways if index != came_by]


def main() -> int:
    """Forward until standard input ends."""
    parser = argparse.ArgumentParser(prog="python3 -m harness.agent.delay.forwarder", description=__doc__)
    parser.add_argument("--board", required=True, type=int)
    parser.add_argument("--lanes", required=True, help="descriptors of packet sockets, with commas")
    parser.add_argument("--behind", required=True, help="the hardware address behind each, with commas")
    options = parser.parse_args()
    lanes = [socket.socket(fileno=int(descriptor)) for descriptor in options.lanes.split(",")]
    addresses = [bytes.fromhex(address.replace(":", "")) for address in options.behind.split(",")]
    # select(2) ends up to 50 us late by default
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    gc.freeze()
    gc.disable()
    behind = {address: index for index, address in enumerate(addresses)}
    Forwarder(lanes, behind, Board(options.board)).run(sys.stdin.fileno())
    os._exit(0)


if __name__ == "__main__":
    main()
