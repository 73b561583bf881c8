"""The delay between the nodes: what delays frames there, what it carried, and round trips across it.

Round trips are asked for right before and right after the load, by ARP, which the far kernel answers; the
line's own word is how many frames it carried and lost meanwhile, and how late they left.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "delay"

NO_LINE = {"kind": "none", "rtt_ns": 0, "carried": 0, "lost": 0, "late_ns": None}
"""What an agent says where frames go the kernel's own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The line during one cell."""

    kind: str
    """`none`, `netem` or `forwarder`."""
    rtt_ns: int
    """What is added to a round trip, as the agent set it."""
    carried: int
    lost: int
    late_p50_ns: int | None
    """How much after its instant a frame left, median; None where nobody knows (netem)."""
    trips_ns: tuple[int, ...]

    @property
    def own_ns(self) -> int:
        """What a round trip took beyond what was asked for, median: from the frames, else from the trips."""
        if self.late_p50_ns is not None:
            return 2 * self.late_p50_ns
        return round(statistics.median(self.trips_ns)) - self.rtt_ns if self.trips_ns else 0


def collect(line: Mapping[str, Any], trips_ns: Sequence[int]) -> dict[str, Any]:
    """The document.

    Args:
        line: The agent's `delayed` reply at the cell's end.
        trips_ns: Round trips before and after the load.
    """
    return new(NAME, **line, trips_ns=list(trips_ns))


def read(documents: Mapping[str, Any]) -> Delay:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Delay(
        kind=fields.text("kind"),
        rtt_ns=fields.integer("rtt_ns"),
        carried=fields.integer("carried"),
        lost=fields.integer("lost"),
        late_p50_ns=fields.child("late_ns").integer("p50") if fields.has("late_ns") else None,
        trips_ns=tuple(fields.integers("trips_ns")),
    )
