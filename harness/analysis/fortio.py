"""Fortio's results, read: what its histogram says, in our units. Beside ours, never compared with a verdict.

One result of another generator has no rounds to pair and no evidence of what its packets met, so nothing
is claimed from it; its percentiles stand beside ours to be looked at.

Source: fortio/periodic `RunnerResults`, fortio/stats `HistogramData`: seconds, `Percent` is cumulative,
values inside a bucket are taken as evenly spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from harness.analysis.statistics import samples_needed
from harness.errors import UsageError


class NotFortio(UsageError):
    """A file is no result of Fortio; the message says what is missing or wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fortio:
    """One run of Fortio."""

    name: str
    labels: str
    started: str
    kind: str
    """`HTTP`, `TCP`, ..."""
    requested: str
    """Queries per second as asked for; `max` is a closed loop."""
    actual: float
    threads: int
    n: int
    failed: int
    """Requests whose return code is no success."""
    ends: tuple[float, ...]
    """Seconds: the least value, then the end of each bucket."""
    shares: tuple[float, ...]
    """Share of values up to each of `ends`."""

    def percentile(self, share: float) -> float | None:
        """Seconds, interpolated inside the bucket; None where n is below 10 / (1 - p)."""
        if self.n < samples_needed(share):
            return None
        return float(np.interp(share, self.shares, self.ends))

    @classmethod
    def from_document(cls, document: Mapping[str, Any], name: str) -> Self:
        """As Fortio saved it.

        Raises:
            NotFortio: It does not have the form, or its counts do not add up.
        """
        try:
            histogram = document["DurationHistogram"]
            buckets = histogram["Data"] or []
            n = int(histogram["Count"])
            codes = document.get("RetCodes") or {}
            good = sum(int(count) for code, count in codes.items() if _good(str(code)))
            found = cls(
                name=name,
                labels=str(document.get("Labels", "")),
                started=str(document.get("StartTime", "")),
                kind=str(document.get("RunType", "")),
                requested=str(document.get("RequestedQPS", "")),
                actual=float(document.get("ActualQPS", 0)),
                threads=int(document.get("NumThreads", 0)),
                n=n,
                failed=sum(map(int, codes.values())) - good,
                ends=(float(buckets[0]["Start"]), *(float(each["End"]) for each in buckets)),
                shares=(0.0, *(float(each["Percent"]) / 100 for each in buckets)),
            )
            counted = sum(int(each["Count"]) for each in buckets)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise NotFortio(
                f"import {name}: no result of Fortio: {exc!r}; `fortio load -json FILE URL` writes one"
            ) from exc
        if counted != n:
            raise NotFortio(f"import {name}: its buckets hold {counted} values, its count says {n}")
        if list(found.ends) != sorted(found.ends) or list(found.shares) != sorted(found.shares):
            raise NotFortio(f"import {name}: its buckets do not follow one another")
        return found


def _good(code: str) -> bool:
    return code in {"OK", "SERVING"} or (len(code) == 3 and code.startswith("2"))
