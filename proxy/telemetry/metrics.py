"""The counters under ztunnel's names and labels, for Prometheus; ours begin with `pyztunnel_`.

What changes in pieces is copied on the loop, which takes microseconds; the text is made beside the traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from proxy.telemetry import process, traffic
from proxy.telemetry.exposition import Family, single, written
from proxy.telemetry.record import Direction, Flag
from proxy.telemetry.stats import GAUGES
from proxy.telemetry.telemetry import Telemetry
from proxy.telemetry.traffic import Traffic
from proxy.version import VERSION

Counted = Callable[[Traffic], Iterable[tuple[Flag, int]]]
_TRAFFIC: tuple[tuple[str, str, Counted], ...] = (
    # Ends before beginnings: connections go on meanwhile, and none may end more often than it began.
    ("connections_failed", "Connections that failed", lambda sums: tuple(sums.failed.items())),
    (
        "connections_closed",
        "Connections that ended",
        lambda sums: ((Flag.NONE, sums.ended), *sums.failed.items()),
    ),
    ("connections_opened", "Connections that began", lambda sums: ((Flag.NONE, sums.opened),)),
    # Istio names these from the server's side: what it sent is what came back to the opener.
    ("sent_bytes", "Bytes sent in answer", lambda sums: ((Flag.NONE, sums.bytes_received),)),
    ("received_bytes", "Bytes received in request", lambda sums: ((Flag.NONE, sums.bytes_sent),)),
)

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
    for name, text, counted in _TRAFFIC:
        yield Family(f"istio_tcp_{name}", "counter", text, _samples(snapshot.traffic, counted))
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


def _samples(kinds: list[Traffic], counted: Counted) -> Iterator[tuple[str, int]]:
    for sums in kinds:
        for flag, count in counted(sums):
            yield _labels(sums, flag), count


def _labels(sums: Traffic, flag: Flag) -> str:
    """Written once in a series' life, but for the flag."""
    if not sums.written:
        sums.written = written(traffic.NAMES, sums.labels)
    return f'{sums.written},{traffic.FLAG}="{flag.value}"'
