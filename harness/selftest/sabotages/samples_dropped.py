"""One sample in a hundred is lost on its way to the disk (C1)."""

from __future__ import annotations

from dataclasses import replace

from harness.control import Reply
from harness.run.asks import Ask
from harness.selftest.harm import Harm

FIRES = "samples"
BECAUSE = "requests rows saved"


class Sabotage(Harm):
    """The load says how many rows it recorded; the file holds fewer."""

    def replied(self, ask: Ask, reply: Reply) -> Reply:
        """Leave out every hundredth row of the closed loop."""
        if ask.stage != "requests":
            return reply
        width = 8 * len(reply.document["fields"])
        rows = [reply.payload[start : start + width] for start in range(0, len(reply.payload), width)]
        return replace(reply, payload=b"".join(row for i, row in enumerate(rows) if i % 100))
