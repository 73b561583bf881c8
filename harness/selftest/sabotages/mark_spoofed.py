"""Somebody in the client's pod opens connections that carry the proxy's mark (T70)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import CLIENT, SERVER, Harm
from harness.topology.model import APP_PORT

FIRES = "interception"
BECAUSE = "SYNs sent"

CONNECT = """
import socket, sys
for _ in range(3):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x539)
        sock.settimeout(5)
        sock.connect((sys.argv[1], int(sys.argv[2])))
"""


class Sabotage(Harm):
    """Marked connections meet no rule of capture and go straight to the server."""

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """Three connections before the first packet."""
        if ask.stage == "probe":
            address = str(self.pod(SERVER).address)
            self.inside(CLIENT, ["python3", "-c", CONNECT, address, str(APP_PORT)])
        yield
