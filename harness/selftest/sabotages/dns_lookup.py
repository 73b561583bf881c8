"""The client's pod asks for a name over the measured links (M13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import CLIENT, SERVER, Harm

FIRES = "quiet-links"
BECAUSE = "stray packets"

LOOK_UP = """
import socket, sys
query = bytes.fromhex("abcd01000001000000000000") + b"\\x06server\\x04mesh\\x00" + bytes.fromhex("00010001")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(query, (sys.argv[1], 53))
"""


class Sabotage(Harm):
    """One datagram to port 53 is enough."""

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """One look-up before the first packet."""
        if ask.stage == "probe":
            self.inside(CLIENT, ["python3", "-c", LOOK_UP, str(self.pod(SERVER).address)])
        yield
