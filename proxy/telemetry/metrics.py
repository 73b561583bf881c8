"""The counters under ztunnel's names and labels, for Prometheus; ours begin with `pyztunnel_`.

What changes in pieces is copied on the loop, which takes microseconds; the text is made beside the traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from proxy.telemetry import process, traffic
from proxy.telemetry.exposition import Family, single, written
from proxy.telemetry.record import Direction, Flag
from proxy.telemetry.stats import GAUGES
from proxy.telemetry.telemetry import Telemetry
from proxy.telemetry.traffic import Traffic
from proxy.version import VERSION

Gauges = Callable[[], Mapping[str, int]]
"""Further values by full name, asked for at each scrape; names ending in `_total` are counters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a scrape shows."""

    traffic: list[Traffic]
    """Each one counts on while it is read; a series only grows."""
    sockets: Mapping[Direction, int]
    stats: Mapping[str, int]
    faults: Mapping[str, int]
    gauges: Mapping[str, int]

    @classmethod
    async def of(cls, telemetry: Telemetry, gauges: Gauges) -> Snapshot:
        """Taken on the loop, with the bytes that live connections have carried by now."""
        await telemetry.settle()
        return cls(
            traffic=telemetry.traffic.all(),
            sockets=dict(telemetry.sockets),
            stats=telemetry.stats.snapshot(),
            faults=dict(telemetry.stats.faults),
            gauges=gauges(),
        )


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Everything that is shown."""
    build = written(("component", "tag"), ("pyztunnel", VERSION))
    yield Family("istio_build", "gauge", "Build information", [(build, 1)])
    yield from _traffic(snapshot.traffic)
    sockets = [
        (written(("reporter",), (traffic.reporter(direction),)), count)
        for direction, count in snapshot.sockets.items()
    ]
    yield Family("istio_tcp_sockets_open", "gauge", "Accepted sockets that are open now", sockets)
    for name, value in snapshot.stats.items():
        if name.endswith("_ns"):
            yield single(f"pyztunnel_{name.removesuffix('_ns')}_seconds_total", value / 1e9)
        else:
            yield single(f"pyztunnel_{name}" + ("" if name in GAUGES else "_total"), value)
    faults = [(written(("kind",), (kind,)), count) for kind, count in snapshot.faults.items()]
    yield Family(
        "pyztunnel_tunnel_faults",
        "counter",
        "Tunnels that ended because of what their peer did or failed to do",
        faults,
    )
    for name, further in (*snapshot.gauges.items(), *process.values().items()):
        yield single(name, further)


def _traffic(all_series: list[Traffic]) -> Iterator[Family]:
    """Ends before beginnings: connections go on, and none may have ended more often than it began."""
    failed = [sums for sums in all_series if sums.failed]
    yield Family(
        "istio_tcp_connections_failed",
        "counter",
        "Connections that failed, by what failed",
        ((_labels(sums, flag), count) for sums in failed for flag, count in tuple(sums.failed.items())),
    )
    yield Family(
        "istio_tcp_connections_closed",
        "counter",
        "Connections that ended",
        (
            (_labels(sums, flag), count)
            for sums in all_series
            for flag, count in ((Flag.NONE, sums.ended), *sums.failed.items())
        ),
    )
    yield Family(
        "istio_tcp_connections_opened",
        "counter",
        "Connections that began",
        ((_labels(sums, Flag.NONE), sums.opened) for sums in all_series),
    )
    # Istio names these from the server's side: what it sent is what came back to the opener.
    yield Family(
        "istio_tcp_sent_bytes",
        "counter",
        "Bytes sent in answer",
        ((_labels(sums, Flag.NONE), sums.bytes_received) for sums in all_series),
    )
    yield Family(
        "istio_tcp_received_bytes",
        "counter",
        "Bytes received in request",
        ((_labels(sums, Flag.NONE), sums.bytes_sent) for sums in all_series),
    )


def _labels(sums: Traffic, flag: Flag) -> str:
    """Written once in a series' life, but for the flag."""
    if not sums.written:
        sums.written = written(traffic.NAMES, sums.labels)
    return f'{sums.written},{traffic.FLAG}="{flag.value}"'
