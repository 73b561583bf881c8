"""Round trips of one small message on one live connection, back to back."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import RTT_BYTES, Load
from harness.plan.scenarios.model import How, Metric, Rows, Stage
from harness.topology.model import ECHO_PORT

ORDER = 40
KEYS = None
SAMPLES = {"rtt": Rows.TRIP}
METRICS = (
    Metric(name="rtt", title=f"round trip of {RTT_BYTES} bytes", unit="s", stage="rtt", how=How.WHOLE),
)


def stages(load: Load) -> Iterator[Stage]:
    """One window of the probe process, which is quieter than Locust."""
    if load.rtt_s:
        echo = {"message_bytes": RTT_BYTES, "seconds": load.rtt_s}
        yield Stage(name="rtt", op="later", seconds=load.rtt_s, arguments=echo, port=ECHO_PORT, sized=False)
