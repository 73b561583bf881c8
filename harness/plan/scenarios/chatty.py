"""Chatty small writes: each message leaves in many writes of a few bytes, and is echoed.

Every write is a segment of its own (TCP_NODELAY), and in a tunnel a DATA frame and a TLS record.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage
from harness.topology.model import ECHO_PORT

ORDER = 120
KEYS = {
    "connections": Key(default=4, low=1, high=1000, about="Each with one message under way."),
    "writes": Key(default=16, low=1, high=100, about="So many a message."),
    "write_bytes": Key(default=16, low=1, high=256, about="Of each write."),
    "seconds": Key(default=0.3, high=3600, about="How long."),
}
SAMPLES = {"chatty": Rows.REQUEST}
METRICS = (
    Metric(
        name="chatty", title="message in small writes, whole echo", unit="s", stage="chatty", how=How.WHOLE
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One closed loop."""
    if asked := load.scenario("chatty"):
        yield Stage(
            name="chatty",
            op="chatty",
            seconds=float(asked["seconds"]),
            arguments=asked,
            port=ECHO_PORT,
            sized=False,
        )
