"""A run's figures in other tools' formats. Nothing is computed here that the findings do not hold.

csv: one line per round, for spreadsheets. openmetrics: gauges, for GitLab's metrics report or a push to
Prometheus. bmf: Bencher Metric Format. fortio: one result per configuration, as `fortio report` draws it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from harness.analysis.findings import Findings
from harness.analysis.measures import METRICS
from harness.analysis.rounds import QUANTILES, Measure
from harness.plan.model import Configuration

BUCKETS = 60
"""Of a Fortio histogram, evenly spaced in the logarithm; its page reads well with some dozens."""


FAMILIES = {
    "s": ("latency_seconds", "seconds", "Time to the first byte of an answer"),
    "requests/s": ("throughput_requests_per_second", "", "Answers per second"),
    "connections/s": ("throughput_connections_per_second", "", "New connections per second"),
    "bit/s": ("throughput_bits_per_second", "", "Payload bits per second"),
    "bytes": ("resident_memory_bytes", "bytes", "Resident memory of the proxies"),
    "share": ("share_ratio", "ratio", "Part of a whole"),
    "CPU s": ("cpu_seconds", "seconds", "CPU time per request or first packet"),
    "CPU s/GB": ("cpu_per_gigabyte_seconds", "seconds", "CPU time per gigabyte"),
    "switches": ("context_switches", "", "Context switches per request or first packet"),
}
"""Unit in findings -> name, OpenMetrics unit, help."""
MEASURES = {
    "s": (1e9, "latency"),
    "bytes": (1.0, "memory"),
    "share": (1.0, "share"),
    "CPU s": (1e9, "cpu-time"),
    "CPU s/GB": (1e9, "cpu-time-per-gigabyte"),
    "switches": (1.0, "context-switches"),
}
"""Unit in findings -> factor and Bencher's measure, a slug of lower-case letters and hyphens; all others are
throughput."""


def as_csv(findings: Findings) -> str:
    """Configuration, metric, unit, round, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("run", "configuration", "metric", "unit", "round", "value"))
    for each in findings.measures.values():
        unit = METRICS[each.metric].unit
        for number, value in each.per_round.items():
            figure = repr(float(value))
            writer.writerow((_run(findings), each.configuration.key, each.metric, unit, number, figure))
    return out.getvalue()


def as_openmetrics(findings: Findings) -> str:
    """Gauges with a unit in their name, one sample per configuration, metric and quantile.

    Source: OpenMetrics 1.0, section 4.2: TYPE and UNIT before the samples, `# EOF` at the end.
    """
    samples: dict[str, list[str]] = {unit: [] for unit in FAMILIES}
    for each in _shown(findings):
        labels = {
            "suite": str(findings.run.manifest.suite["name"]),
            "path": each.configuration.path.value,
            "configuration": each.configuration.key,
            "metric": each.metric,
        }
        if each.percentiles:
            for name, found in each.percentiles.items():
                if found:
                    at = _labels(labels | {"quantile": str(QUANTILES[name])})
                    samples["s"].append(f"ambientbench_latency_seconds{at} {found.value!r}")
        elif each.estimate:
            unit = METRICS[each.metric].unit
            value = each.estimate.centre
            samples[unit].append(f"ambientbench_{FAMILIES[unit][0]}{_labels(labels)} {value!r}")
    lines = []
    for unit, (name, suffix, help_text) in FAMILIES.items():
        if not samples[unit]:
            continue
        lines += [f"# TYPE ambientbench_{name} gauge"]
        lines += [f"# UNIT ambientbench_{name} {suffix}"] if suffix else []
        lines += [f"# HELP ambientbench_{name} {help_text}", *samples[unit]]
    return "\n".join([*lines, "# EOF"]) + "\n"


def as_bmf(findings: Findings) -> str:
    """Benchmark -> measure -> value with bounds; latency in nanoseconds, as Bencher's own adapters do.

    Source: Bencher, Bencher Metric Format.
    """
    document: dict[str, dict[str, dict[str, float]]] = {}
    for each in _shown(findings):
        found, metric = each.shown, METRICS[each.metric]
        if found is None:
            continue
        scale, measure = MEASURES.get(metric.unit, (1.0, "throughput"))
        values = {"value": found.centre, "lower_value": found.low, "upper_value": found.high}
        document[f"{each.configuration.key}/{each.metric}"] = {
            measure: {name: value * scale for name, value in values.items() if value is not None}
        }
    return json.dumps(document, indent=1) + "\n"


def as_fortio(findings: Findings) -> dict[str, str]:
    """File name -> a Fortio result of each configuration's fixed-rate requests.

    Source: fortio/periodic `RunnerResults` and fortio/stats `HistogramData`; times in seconds.
    """
    return {
        f"{_run(findings)}-{_safe(configuration.key)}.json": json.dumps(
            _fortio(findings, configuration, measure), indent=1
        )
        + "\n"
        for configuration in findings.configurations
        if (measure := findings.measure(configuration, "rate")) is not None and len(measure.pooled)
    }


FORMATS: Mapping[str, Callable[[Findings], str | dict[str, str]]] = {
    "csv": as_csv,
    "openmetrics": as_openmetrics,
    "bmf": as_bmf,
    "fortio": as_fortio,
}
"""Name -> text, or file name -> text where the format holds one result a file."""


def _fortio(findings: Findings, configuration: Configuration, measure: Measure) -> dict[str, Any]:
    load, values = findings.run.plan.load, measure.pooled
    seconds = load.rate_s * len(measure.per_round)
    return {
        "RunType": "TCP",
        "Labels": f"ambientbench {_run(findings)} {configuration.key}",
        "StartTime": findings.run.manifest.started.wall,
        "RequestedQPS": f"{load.rate_hz:g}",
        "RequestedDuration": f"{load.rate_s:g}s",
        "ActualQPS": len(values) / seconds if seconds else 0.0,
        "ActualDuration": round(seconds * 1e9),
        "NumThreads": load.rate_connections,
        "Version": "ambientbench",
        "DurationHistogram": {
            "Count": len(values),
            "Min": float(values[0]),
            "Max": float(values[-1]),
            "Sum": float(values.sum()),
            "Avg": float(values.mean()),
            "StdDev": float(values.std()),
            "Data": _histogram(values),
            "Percentiles": [
                {"Percentile": QUANTILES[name] * 100, "Value": found.value}
                for name, found in measure.percentiles.items()
                if found
            ],
        },
        "Exactly": 0,
        "RetCodes": {"OK": len(values)},
    }


def _histogram(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, float]]:
    """Buckets that hold something, each with the share of all values up to its end."""
    edges = np.geomspace(values[0], max(values[-1], values[0] * (1 + 1e-9)), BUCKETS + 1)
    edges[0], edges[-1] = values[0], max(values[-1], edges[-2])
    counts, _ = np.histogram(values, edges)
    below = np.cumsum(counts)
    return [
        {
            "Start": float(edges[index]),
            "End": float(edges[index + 1]),
            "Percent": float(below[index]) * 100 / len(values),
            "Count": int(count),
        }
        for index, count in enumerate(counts)
        if count
    ]


def _shown(findings: Findings) -> Iterator[Measure]:
    """What may be printed: no figure that the load generator limited, none of too few samples."""
    for each in findings.measures.values():
        if each.shown is not None and not each.at_least:
            yield each


def _run(findings: Findings) -> str:
    return findings.run.manifest.run


def _labels(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)
