"""The words of a scenario: keys, stages, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.topology.model import APP_PORT

Value = float | int | str
"""What a key holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What a suite may say under one key of a scenario."""

    default: float | int
    """Its type is the key's."""
    about: str
    low: float = 0
    high: float = 1_000_000


class Rows(StrEnum):
    """Shapes of rows, by the subject of one: `harness.load.records` has their fields."""

    REQUEST = "request"
    TRANSFER = "transfer"
    TRIP = "trip"
    STEP = "step"
    ENDPOINT = "endpoint"


class How(StrEnum):
    """How a metric is read from the rows of its stage."""

    INTENDED = "from the intended start to the first byte"
    STARTED = "from the real start to the first byte"
    WHOLE = "from the start to the end"
    ANSWERS = "answers per second"
    BITS = "payload bits per second"
    KNEE = "highest rate that held the limit"
    BUSIEST = "share of the busiest endpoint"
    MEMORY = "resident memory of all proxies"
    PROBE = "by state, from the probes of first packets"
    USAGE = "from what processes used, not from samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing measured."""

    name: str
    title: str
    unit: str
    """Of the values in findings: `s`, `requests/s`, `connections/s`, `bit/s`, `share`, `bytes`; of costs
    `CPU s`, `CPU s/GB`, `switches`."""
    stage: str
    """Whose pace it depends on."""
    how: How
    lower_is_better: bool = True
    compared: bool = True
    """Whether configurations are compared by it; each comparison widens all others of its family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of load: which process is asked what."""

    name: str
    op: str
    seconds: float
    """How long each lane takes, as asked for."""
    arguments: Mapping[str, Value] = field(default_factory=dict)
    port: int = APP_PORT
    """What is dialled at the target."""
    sized: bool = True
    """Whether answers have the load's `response_bytes`; not where no HTTP is spoken."""
    apart: bool = False
    """Whether lanes are asked one after another, each in a request of its own: at once, the load of one would
    be load on all. Other stages take all lanes of a bout in one request."""
    beside: Stage | None = None
    """What the other load process does at the same time: it starts when this one's window has opened."""
