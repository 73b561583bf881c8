"""The load's clock is 100 us behind the kernel's (M18)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.control import Reply
from harness.run.asks import Ask
from harness.selftest.harm import Harm

FIRES = "clock"
BECAUSE = "clocks apart at the median"
BEHIND_NS = 100_000


class Sabotage(Harm):
    """Every time that it took of the round's stamped connections."""

    def replied(self, ask: Ask, reply: Reply) -> Reply:
        """The rows, earlier."""
        if ask.stage != "clock":
            return reply
        fields = reply.document["fields"]
        rows = np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(fields)).copy()
        rows[:, [index for index, name in enumerate(fields) if name.endswith("_ns")]] -= BEHIND_NS
        return replace(reply, payload=rows.tobytes())
