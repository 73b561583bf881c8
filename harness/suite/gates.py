"""Thresholds as a suite writes them: `first_packet.warm.p99 < 3ms`, `ratio(conntrack=off, on).p50 < 1.1`.

    gate     = target "." statistic ("<" | ">") number [unit]
    target   = metric | "ratio(" factor "=" level "," level ")" ["." metric]

A metric is that of the suite's default configuration. A ratio is the first level over the second, of later
packets unless it names a metric. Latencies have p50, p90, p99, p999; throughput, costs and ratios have p50
alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

METRICS = {
    "first_packet.cold": "first.cold",
    "first_packet.warm": "first.warm",
    "first_packet.new": "first.new",
    "steady": "steady",
    "rate": "rate",
    "requests": "requests",
    "transfer": "transfer",
    "rtt": "rtt",
    "requests.alone": "requests.alone",
    "transfer.alone": "transfer.alone",
    "connects": "connects",
    **{
        f"{kind}.first_packet.{state}": f"{kind}.first.{state}"
        for kind in ("cpu", "switches")
        for state in ("cold", "warm", "new")
    },
    **{
        name: name
        for name in (
            *("cpu.later", "cpu.request", "cpu.gigabyte", "cpu.path.request", "cpu.path.gigabyte"),
            *("switches.later", "switches.request", "memory.peak"),
        )
    },
}
"""As written -> as the analysis names it."""
FACTORS = ("conntrack", "reuse", "mesh")
"""Factors with two levels, on and off."""
PERCENTILES = ("p50", "p90", "p99", "p999")
LATENCY = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
REQUESTS = {"req/s": 1.0, "/s": 1.0}
BITS = {"kb/s": 1e3, "Mb/s": 1e6, "Gb/s": 1e9}
THROUGHPUT = {
    "requests": REQUESTS,
    "requests.alone": REQUESTS,
    "transfer": BITS,
    "transfer.alone": BITS,
    "connects": {"conn/s": 1.0, "/s": 1.0},
}
"""Metrics of which more is better, with their units."""
COUNTED = {"": 1.0}
MEMORY = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
COSTS = {
    metric: MEMORY if metric == "memory.peak" else COUNTED if metric.startswith("switches.") else LATENCY
    for metric in METRICS.values()
    if metric.startswith(("cpu.", "switches.", "memory."))
}
"""What processes used, with its units: CPU time, a count, memory. All metrics beside are latencies."""

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
    allowed = ("p50",) if ratio or metric in {**THROUGHPUT, **COSTS} else PERCENTILES
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
    units = {**THROUGHPUT, **COSTS}.get(metric, LATENCY)
    if unit not in units:
        allowed = ", ".join(filter(None, units)) or "none"
        raise Unknown(f"found the unit {unit!r}" if unit else "found no unit", allowed, unit)
    return units[unit]
