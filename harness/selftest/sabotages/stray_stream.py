"""A stream of packets that nobody measures shares the links with those that are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import CLIENT, SERVER, Harm, beside

FIRES = "quiet-links"
BECAUSE = "stray packets"

STREAM = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(100):
    try:
        sock.sendto(bytes(1000), (sys.argv[1], 9))
    except ConnectionRefusedError:
        pass
    time.sleep(0.001)
"""


class Sabotage(Harm):
    """A hundred datagrams beside the requests."""

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """Beside the closed loop."""
        if ask.stage != "requests":
            yield
            return
        command = ["python3", "-c", STREAM, str(self.pod(SERVER).address)]
        with beside(lambda: self.inside(CLIENT, command)):
            yield
