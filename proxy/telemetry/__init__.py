"""What the proxy tells of itself.

stats: counters as plain integers, for the control socket and the metrics.
record: one connection from accept to its end, with the time of each phase.
journal: the times of completed connections, kept while somebody asks for them.
access: the access line, one per connection.
traffic: sums over connections with the same labels. process: what this process uses.
metrics: all of them under ztunnel's names, for Prometheus. exposition: how that is written.
logs: how lines are formed. writer: a thread that writes them, so that nobody waits.
"""

from proxy.telemetry.record import ConnectionRecord, Direction, Flag, Outcome, Phases
from proxy.telemetry.stats import Stats
from proxy.telemetry.telemetry import Telemetry

__all__ = ["ConnectionRecord", "Direction", "Flag", "Outcome", "Phases", "Stats", "Telemetry"]
