"""What a scrape says, read by a strict parser: every test that scrapes does it here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from prometheus_client import parser as prometheus
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as open_metrics

from proxy.telemetry import Telemetry, metrics
from proxy.telemetry.exposition import Form, lines

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scraped(telemetry: Telemetry, gauges: Mapping[str, int] | None = None) -> Samples:
    """As `scrape`, where no loop runs."""
    return asyncio.run(scrape(telemetry, gauges))


async def scrape(telemetry: Telemetry, gauges: Mapping[str, int] | None = None) -> Samples:
    """What a scrape of it shows, by the sample's name; both forms say the same."""
    snapshot = await metrics.Snapshot.of(telemetry, lambda: gauges or {})
    new, old = ("".join(lines(metrics.families(snapshot), form)) for form in Form)
    found, before = read(new, Form.OPEN_METRICS), read(old, Form.PROMETHEUS)
    assert _apart_from_the_process(found) == _apart_from_the_process(before)
    return found


def read(text: str, form: Form) -> Samples:
    """A scrape's samples.

    Raises:
        ValueError: It is not as the format says; a series that is there twice included.
    """
    found: Samples = {}
    parser = open_metrics if form is Form.OPEN_METRICS else prometheus
    families: Iterable[Metric] = parser.text_string_to_metric_families(text)
    for family in families:
        for sample in family.samples:
            series = found.setdefault(sample.name, [])
            if any(labels == sample.labels for labels, _ in series):
                raise ValueError(f"{sample.name}{sample.labels} is there twice")
            series.append((dict(sample.labels), sample.value))
        if family.type not in {"counter", "gauge"} or not family.documentation:
            raise ValueError(f"{family.name}: {family.type}, {family.documentation!r}")
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum over the series that have these labels."""
    return sum(value for has, value in samples.get(name, ()) if labels.items() <= has.items())


def _apart_from_the_process(samples: Samples) -> Samples:
    """Its own figures go on while it writes them."""
    return {name: series for name, series in samples.items() if not name.startswith("process_")}
