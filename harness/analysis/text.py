"""Figures as people read them: three digits, a unit, an interval where there is one."""

from __future__ import annotations

from collections.abc import Iterable

from harness.analysis.statistics import Estimate

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bit/s": ((1e9, "Gb/s"), (1e6, "Mb/s"), (1e3, "kb/s")),
    "requests/s": ((1.0, "req/s"),),
    "connections/s": ((1.0, "conn/s"),),
    "share": ((0.01, "%"),),
    "bytes": ((2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "CPU s": ((1.0, "s CPU"), (1e-3, "ms CPU"), (1e-6, "µs CPU")),
    "CPU s/GB": ((1.0, "s CPU/GB"), (1e-3, "ms CPU/GB")),
    "switches": ((1.0, "switches"),),
}


def significant(value: float, digits: int = 3) -> str:
    """A number with that many significant digits, thousands marked, never in powers of ten."""
    if value == 0:
        return "0"
    text = f"{value:.{digits}g}"
    plain = float(text)
    decimals = max(0, digits - 1 - _exponent(plain))
    return f"{plain:,.{decimals}f}"


def span(counts: Iterable[int]) -> str:
    """Least and most: `5 to 6`, or `6` where all are equal."""
    found = sorted(set(counts))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def _exponent(value: float) -> int:
    return int(f"{abs(value):e}".rsplit("e", 1)[1])


def scale(value: float, unit: str) -> tuple[float, str]:
    """Divisor and name of the unit in which a value is best read, once it has three digits."""
    scales = _SCALES[unit]
    shown = abs(float(f"{value:.3g}"))
    return next(((size, name) for size, name in scales if shown >= size), scales[-1])


def quantity(value: float, unit: str) -> str:
    """A value with its unit: `0.612 ms`."""
    size, name = scale(value, unit)
    return f"{significant(value / size)} {name}"


def interval(found: Estimate, unit: str) -> str:
    """A median with its unit and interval: `0.612 ms (0.598 to 0.640)`."""
    size, name = scale(found.centre, unit)
    text = f"{significant(found.centre / size)} {name}"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({significant(found.low / size)} to {significant(found.high / size)})"


def times(ratio: Estimate) -> str:
    """A ratio with its interval: `3.42 × (3.31 to 3.60)`; near 1 with one digit more."""
    text = f"{_ratio(ratio.centre)} ×"
    if ratio.low is None or ratio.high is None:
        return text
    return f"{text} ({_ratio(ratio.low)} to {_ratio(ratio.high)})"


def _ratio(value: float) -> str:
    return f"{value:.3f}" if 0.9 < value < 1.1 else significant(value)
