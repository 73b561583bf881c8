"""What a block is: a question, a sentence of reading, a table, and curves where there is a distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.measures import Samples

SHARES = (0.0, 0.01, 0.025, *(step / 20 for step in range(1, 20)), 0.975, 0.99, 1.0)
"""Shares of samples at which a curve is drawn: finer at its ends, few enough for a thousand cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The distribution of some samples, thinned to `SHARES`."""

    name: str
    colour: str
    dash: str
    values: tuple[float, ...]
    """In the unit of the block's axis, one per share."""

    @classmethod
    def of(cls, samples: Samples, *, name: str, colour: str, dash: str, scale: float) -> Curve:
        """From samples in any order; `scale` divides them into the axis' unit."""
        found = np.quantile(samples, SHARES) / scale
        return cls(name=name, colour=colour, dash=dash, values=tuple(float(f"{each:.4g}") for each in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One thing shown of a cell. All text, ready to show."""

    question: str
    reading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The table; with curves, their twin."""
    axis: str = ""
    """Of the curves, with its unit."""
    curves: tuple[Curve, ...] = ()
