"""Where connections are counted: one call when one opens, one when it ends."""

from __future__ import annotations

from proxy.telemetry.record import ConnectionRecord
from proxy.telemetry.stats import Stats


class Telemetry:
    """Counts connections and writes the access log. `stats` is for everyone to increment."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats

    def opened(self, record: ConnectionRecord) -> None:
        """The connection's far end is reached: source, destination and service are known."""

    def complete(self, record: ConnectionRecord) -> None:
        """The connection has ended, however. Exactly once for each record: a second call is a RuntimeError.

        Counts `completed_outbound_*` and bytes by the record, and writes its access line.
        """
