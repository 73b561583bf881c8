"""Thresholds as a suite writes them: `first_packet.warm.p99 < 3ms`, `ratio(conntrack=off, on).p50 < 1.1`.

    gate     = target "." statistic ("<" | ">") number [unit]
    target   = metric | "ratio(" factor "=" level "," level ")" ["." metric]

A metric is that of the suite's default configuration. A ratio is the first level over the second, of later
packets unless it names a metric. Latencies have p50, p90, p99, p999; all others and ratios have p50 alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.plan import costs, scenarios

METRICS = {
    "first_packet.cold": "first.cold",
    "first_packet.warm": "first.warm",
    "first_packet.new": "first.new",
    "steady": "steady",
    **{metric.name.replace("-", "_"): metric.name for metric in scenarios.metrics()},
    **{metric.name.replace(".first.", ".first_packet."): metric.name for metric in costs.METRICS},
}
"""As written -> as the analysis names it."""
FACTORS = ("conntrack", "reuse", "mesh")
"""Factors with two levels, on and off."""
PERCENTILES = ("p50", "p90", "p99", "p999")
LATENCY = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
UNITS = {
    "s": LATENCY,
    "requests/s": {"req/s": 1.0, "/s": 1.0},
    "connections/s": {"conn/s": 1.0, "/s": 1.0},
    "bit/s": {"kb/s": 1e3, "Mb/s": 1e6, "Gb/s": 1e9},
    "bytes": {"B": 1.0, "kB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 1048576.0, "GB": 1e9},
    "share": {"%": 0.01},
    "CPU s": LATENCY,
    "CPU s/GB": LATENCY,
    "switches": {"": 1.0},
}
"""Unit in findings -> how it may be written -> the factor."""
SINGLE = {
    metric.name: UNITS[metric.unit] for metric in (*scenarios.metrics(), *costs.METRICS) if metric.unit != "s"
}
"""Metrics of one value a cell, with their units; all others are latencies."""

_GATE = re.compile(
    r"(?P<target>.+)\.(?P<statistic>\w+)\s*(?P<sign>[<>])\s*(?P<number>\d+(\.\d+)?)\s*(?P<unit>\S*)"
)
_RATIO = re.compile(
    r"ratio\(\s*(?P<factor>\w+)\s*=\s*(?P<of>\w+)\s*,\s*(?P<against>\w+)\s*\)(\.(?P<metric>.+))?"
)


class Unknown(ValueError):
    """A gate that cannot be understood: what was found, what is allowed, the word that may be misspelt."""

    def __init__(self, found: str, allowed: str, word: str = "") -> None:
        super().__init__(f"{found} (allowed: {allowed})")
        self.found, self.allowed, self.word = found, allowed, word


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One threshold."""

    text: str
    metric: str
    """As the analysis names it."""
    statistic: str
    below: bool
    """Whether values below the limit are good."""
    limit: float
    """Seconds, requests/s, bit/s, or a ratio."""
    factor: str = ""
    """Of a ratio; empty for a metric of the default configuration."""
    inverted: bool = False
    """Whether the ratio is off over on."""


def gate(text: str) -> Gate:
    """Understand a threshold.

    Raises:
        Unknown: It says something that no run has.
    """
    parts = _GATE.fullmatch(text.strip())
    if parts is None:
        raise Unknown(f"found {text!r}", "METRIC.STATISTIC < NUMBER UNIT, as in first_packet.warm.p99 < 3ms")
    target, statistic = parts["target"], parts["statistic"]
    ratio = _RATIO.fullmatch(target)
    word = (ratio["metric"] or "steady") if ratio else target
    if word not in METRICS:
        raise Unknown(f"unknown metric {word!r}", ", ".join(METRICS), word)
    metric = METRICS[word]
    allowed = ("p50",) if ratio or metric in SINGLE else PERCENTILES
    if statistic not in allowed:
        raise Unknown(f"unknown statistic {statistic!r} of {target}", ", ".join(allowed), statistic)
    return Gate(
        text=text.strip(),
        metric=metric,
        statistic=statistic,
        below=parts["sign"] == "<",
        limit=float(parts["number"]) * _unit(parts["unit"], metric, plain=ratio is not None),
        factor=_factor(ratio) if ratio else "",
        inverted=ratio is not None and ratio["of"] == "off",
    )


def _factor(ratio: re.Match[str]) -> str:
    if ratio["factor"] not in FACTORS:
        raise Unknown(f"unknown factor {ratio['factor']!r}", ", ".join(FACTORS), ratio["factor"])
    if {ratio["of"], ratio["against"]} != {"on", "off"}:
        found = f"found levels {ratio['of']!r} and {ratio['against']!r}"
        raise Unknown(found, "on, off and off, on")
    return ratio["factor"]


def _unit(unit: str, metric: str, *, plain: bool) -> float:
    if plain:
        if unit:
            raise Unknown(f"found the unit {unit!r}", "none: a ratio has no unit")
        return 1.0
    units = SINGLE.get(metric, LATENCY)
    if unit not in units:
        allowed = ", ".join(filter(None, units)) or "none"
        raise Unknown(f"found the unit {unit!r}" if unit else "found no unit", allowed, unit)
    return units[unit]
