"""The counters in Prometheus's text form, with ztunnel's names and labels; ours begin with `pyztunnel_`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.telemetry import stats, traffic
from proxy.telemetry.telemetry import Telemetry, Traffic
from proxy.version import VERSION

_TRAFFIC: tuple[tuple[str, str, Callable[[Traffic], int]], ...] = (
    ("tcp_connections_opened", "TCP connections opened", lambda sums: sums.opened),
    ("tcp_connections_closed", "TCP connections closed", lambda sums: sums.closed),
    ("tcp_connections_failed", "TCP connections that failed", lambda sums: sums.failed),
    # Istio names these from the server's side: what it sent is what came back to the opener.
    ("tcp_sent_bytes", "Bytes sent in answer, over TCP connections", lambda sums: sums.bytes_received),
    ("tcp_received_bytes", "Bytes received in request, over TCP connections", lambda sums: sums.bytes_sent),
)

Gauges = Callable[[], dict[str, int]]
"""Further values by full name, asked for at each scrape; names ending in `_total` are counters."""


class Metrics:
    """Renders everything at a scrape; nothing is kept twice."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, telemetry: Telemetry, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Counters(telemetry, gauges))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The text form."""
        return generate_latest(self._registry)


class _Counters(Collector):
    def __init__(self, telemetry: Telemetry, gauges: Gauges) -> None:
        self._telemetry = telemetry
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        yield self._build()
        yield from self._traffic()
        yield self._sockets()
        for name, value in self._telemetry.stats.snapshot().items():
            if name.endswith("_ns"):
                yield _single(f"pyztunnel_{name.removesuffix('_ns')}_seconds_total", value / 1e9)
            else:
                yield _single(f"pyztunnel_{name}" + ("" if name in stats.GAUGES else "_total"), value)
        yield self._faults()
        for name, value in self._gauges().items():
            yield _single(name, value)

    def _build(self) -> Metric:
        build = GaugeMetricFamily("istio_build", "Build information", labels=["component", "tag"])
        build.add_metric(["pyztunnel", VERSION], 1)
        return build

    def _traffic(self) -> Iterable[Metric]:
        for name, help_text, value in _TRAFFIC:
            family = CounterMetricFamily(f"istio_{name}", help_text, labels=traffic.NAMES)
            for sums in self._telemetry.traffic.values():
                family.add_metric(sums.labels, value(sums))
            yield family

    def _faults(self) -> Metric:
        text = "Tunnels that ended because of what their peer did or failed to do"
        family = CounterMetricFamily("pyztunnel_tunnel_faults", text, labels=["kind"])
        for kind, count in self._telemetry.stats.faults.items():
            family.add_metric([kind], count)
        return family

    def _sockets(self) -> Metric:
        family = GaugeMetricFamily("istio_tcp_sockets_open", "Connections open now", labels=["reporter"])
        for direction, live in self._telemetry.live.items():
            family.add_metric([traffic.reporter(direction)], live)
        return family


def _single(name: str, value: float) -> Metric:
    if name.endswith("_total"):
        counter = CounterMetricFamily(name.removesuffix("_total"), name.replace("_", " "))
        counter.add_metric([], value)
        return counter
    gauge = GaugeMetricFamily(name, name.replace("_", " "))
    gauge.add_metric([], value)
    return gauge
