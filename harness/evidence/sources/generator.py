"""The load processes' own health while they made load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "generator"

_REPLIED = (
    "rows",
    "opened",
    "scheduled",
    "late",
    "unsent",
    "started_ns",
    "ended_ns",
    "cpu_ns",
    "elapsed_ns",
    "lag_p99_ns",
    "late_sockets",
    "waited_ns",
    "workers",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many Locust processes were to share a stage, and how many did."""

    asked: int
    reported: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One stage's health."""

    rows: int
    scheduled: int
    """Requests that a fixed rate asked for; 0 in a closed loop."""
    elapsed_ns: int
    """All turns together."""
    cpu_ns: int
    lag_p99_ns: int | None
    """How late the process's own timer fired, 99th percentile; None where it never did."""
    late: int = 0
    """Requests that started over 1 ms after they were due."""
    unsent: int = 0
    """Requests that were due and never started."""
    connections: int = 0
    waited_ns: int = 0
    """How long the process waited for a core with a request under way; the probe process tells."""
    workers: Workers | None = None
    """None where one process made the load."""

    @property
    def cpu_share(self) -> float:
        """CPU time per wall time; 1 is a whole core."""
        return self.cpu_ns / self.elapsed_ns

    @property
    def waited_share(self) -> float:
        """Of the requests' time, what the process spent waiting for a core."""
        return self.waited_ns / self.elapsed_ns

    @property
    def achieved_share(self) -> float:
        """Requests made per request scheduled; 1 in a closed loop, which schedules none."""
        return self.rows / self.scheduled if self.scheduled else 1.0


def collect(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document from the replies of the stages."""
    return new(
        NAME,
        stages={
            name: {key: reply[key] for key in _REPLIED if key in reply} for name, reply in stages.items()
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
    workers = fields.child("workers") if fields.has("workers") else None
    return Health(
        workers=Workers(asked=workers.integer("asked"), reported=workers.integer("reported"))
        if workers
        else None,
        late=fields.integer("late") if fields.has("late") else 0,
        unsent=fields.integer("unsent") if fields.has("unsent") else 0,
        connections=fields.integer("opened") if fields.has("opened") else 0,
        rows=fields.integer("rows"),
        waited_ns=fields.integer("waited_ns") if fields.has("waited_ns") else 0,
        scheduled=fields.integer("scheduled") if fields.has("scheduled") else 0,
        elapsed_ns=max(1, fields.integer("elapsed_ns")),
        cpu_ns=fields.integer("cpu_ns"),
        lag_p99_ns=fields.integer("lag_p99_ns") if fields.has("lag_p99_ns") else None,
    )
