"""The Locust process's own health while it made load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "generator"

_REPLIED = ("rows", "started_ns", "ended_ns", "cpu_ns", "lag_p99_ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One stage's health."""

    rate_hz: float
    """The rate that was asked for; 0 for a closed loop."""
    rows: int
    elapsed_ns: int
    cpu_ns: int
    lag_p99_ns: int
    """How late the process's own timer fired, 99th percentile."""

    @property
    def cpu_share(self) -> float:
        """CPU time per wall time; 1 is a whole core."""
        return self.cpu_ns / self.elapsed_ns

    @property
    def achieved_share(self) -> float:
        """Requests made per request asked for; only with a rate."""
        return self.rows / (self.rate_hz * self.elapsed_ns / 1e9)


def collect(stages: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """The document from the arguments and the replies of the stages that Locust ran."""
    return new(
        NAME,
        stages={
            name: {"rate_hz": asked.get("rate_hz", 0), **{key: reply[key] for key in _REPLIED}}
            for name, (asked, reply) in stages.items()
        },
    )


def read(documents: Mapping[str, Any]) -> dict[str, Health]:
    """Stage -> health.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    stages = Fields.opened(NAME, documents).child("stages")
    return {name: _health(stages.child(name)) for name in stages}


def _health(fields: Fields) -> Health:
    return Health(
        rate_hz=fields.number("rate_hz"),
        rows=fields.integer("rows"),
        elapsed_ns=max(1, fields.integer("ended_ns") - fields.integer("started_ns")),
        cpu_ns=fields.integer("cpu_ns"),
        lag_p99_ns=fields.integer("lag_p99_ns"),
    )
