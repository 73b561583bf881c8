"""What the checks are told of the samples: how many, how many failed, how long the longest took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.evidence.model import FIRST_PACKET_TIMES, FirstPacket, SampleCounts

Columns = Mapping[str, NDArray[Any]]
"""One stage's samples by field; states by name, `ok` as 0 and 1 or as booleans."""


def counts(stages: Mapping[str, Columns]) -> SampleCounts:
    """Count the samples of each stage."""
    first: dict[str, int] = {}
    if "probe" in stages:
        probe = stages["probe"]
        states, found = np.unique(probe["state"][probe["sequence"] == 0].astype(str), return_counts=True)
        first = dict(zip(states.tolist(), found.tolist(), strict=True))
    return SampleCounts(
        first=first,
        rows={name: len(columns["ok"]) for name, columns in stages.items()},
        failed={name: int((columns["ok"] == 0).sum()) for name, columns in stages.items()},
        longest_ns={
            name: int((columns["first_byte_ns"] - columns["start_ns"])[columns["ok"] != 0].max(initial=0))
            for name, columns in stages.items()
            if "first_byte_ns" in columns
        },
    )


def first_packets(probe: Columns) -> tuple[FirstPacket, ...]:
    """The probe stage's first packets that were answered."""
    good = (probe["sequence"] == 0) & (probe["ok"] != 0)
    columns = [probe[name][good].tolist() for name in ("state", "local_port", *FIRST_PACKET_TIMES)]
    return tuple(
        FirstPacket(state=str(state), port=port, **dict(zip(FIRST_PACKET_TIMES, times, strict=True)))
        for state, port, *times in zip(*columns, strict=True)
    )
