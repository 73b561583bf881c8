"""An idle fleet: a probe's latency beside many live connections that say nothing, and what they weigh.

Each connection of the fleet has carried a request before the window and carries another after it: it was
alive all the time. The proxies' resident memory is read before the first opens and while all are held;
what is compared is the latter, for an allocator that has grown once does not grow again.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

ORDER = 160
KEYS = {
    "connections": Key(default=1000, low=1, high=4000, about="Held open."),
    "hz": Key(default=200.0, low=1, high=10_000, about="The probe's pace, on one live connection."),
    "seconds": Key(default=0.5, high=3600, about="How long the probe looks."),
}
SAMPLES = {"idle-fleet-held": Rows.REQUEST, "idle-fleet": Rows.REQUEST}
METRICS = (
    Metric(
        name="idle-fleet",
        title="latency beside an idle fleet",
        unit="s",
        stage="idle-fleet",
        how=How.INTENDED,
    ),
    Metric(
        name="idle-fleet.memory",
        title="proxies' memory with an idle fleet",
        unit="bytes",
        stage="idle-fleet-held",
        how=How.MEMORY,
        compared=False,
    ),
)
MARGIN_S = 0.1
"""The fleet is held so much longer than the probe looks."""
OPENING_S = 0.001
"""Per connection that is opened and answered once, through a proxy in Python."""


def stages(load: Load) -> Iterator[Stage]:
    """The fleet, with the probe beside it."""
    asked = load.scenario("idle-fleet")
    if not asked:
        return
    seconds = float(asked["seconds"])
    yield Stage(
        name="idle-fleet-held",
        op="fleet",
        seconds=seconds + 2 * OPENING_S * int(asked["connections"]),
        arguments={"connections": asked["connections"], "seconds": seconds + MARGIN_S},
        beside=Stage(
            name="idle-fleet",
            op="paced",
            seconds=seconds,
            arguments={"rate_hz": asked["hz"], "seconds": seconds},
        ),
    )
