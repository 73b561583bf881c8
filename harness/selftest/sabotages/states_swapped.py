"""In the samples of a cell cold and warm change places: as many of each, and every counter agrees (M04)."""

from __future__ import annotations

import struct
from dataclasses import replace

from harness.control import Reply
from harness.plan.model import State
from harness.run.asks import Ask
from harness.selftest.harm import Harm

FIRES = "first-packets"
BECAUSE = "cold first packets that were cold"


class Sabotage(Harm):
    """What only a look at every single connection finds."""

    def replied(self, ask: Ask, reply: Reply) -> Reply:
        """Exchange the two codes in the rows of first packets."""
        if ask.stage != "probe":
            return reply
        fields = reply.document["fields"]
        codes = {state: code for code, state in enumerate(State)}
        other = {codes[State.COLD]: codes[State.WARM], codes[State.WARM]: codes[State.COLD]}
        layout_ = struct.Struct(f"<{len(fields)}q")
        state = fields.index("state")
        rows = [list(row) for row in layout_.iter_unpack(reply.payload)]
        for row in rows:
            row[state] = other.get(row[state], row[state])
        return replace(reply, payload=b"".join(layout_.pack(*row) for row in rows))
