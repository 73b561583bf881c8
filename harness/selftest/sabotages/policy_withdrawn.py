"""The proxies lose their policies before the round's connection that these have to refuse (M34)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.controlplane.document import document
from harness.selftest.harm import DENIED, SERVER, Harm
from harness.topology.model import APP_PORT

FIRES = "refusal"
BECAUSE = "bytes that answered a refused connection"


class Sabotage(Harm):
    """Everything else goes on, and a little faster."""

    @contextmanager
    def proving(self) -> Iterator[None]:
        """A mesh document without policies."""
        attempt = {"pod": DENIED, "address": str(self.pod(SERVER).address), "port": APP_PORT}
        with self.other_mesh({**document(self.lane.topology), "policies": []}, attempt):
            yield
