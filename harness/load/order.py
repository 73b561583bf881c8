"""In which order lanes have their turns: balanced, and the same for the same seed. Pure.

A cycle is one turn of each lane. Cycles come in designs: over a design each lane stands in each place of a
cycle equally often, and within cycles each lane follows each other lane equally often, so that neither drift
nor what the lane before leaves behind favours one. For two lanes a design is A B, B A.

Source: E. J. Williams, Experimental designs balanced for the estimation of residual effects of treatments,
Australian Journal of Scientific Research A 2 (1949).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def design(lanes: Sequence[int], seed: str) -> list[tuple[int, ...]]:
    """The cycles of one design: as many as lanes, or twice as many where their number is odd."""
    drawn = random.Random(seed)  # noqa: S311 - an order that can be drawn again, not a secret
    names = list(lanes)
    drawn.shuffle(names)
    count = len(names)
    zigzag = [at // 2 + 1 if at % 2 else (count - at // 2) % count for at in range(count)]
    rows = [[(step + shift) % count for step in zigzag] for shift in range(count)]
    if count % 2 and count > 1:
        rows += [row[::-1] for row in rows]
    drawn.shuffle(rows)
    return [tuple(names[position] for position in row) for row in rows]


def cycles(lanes: Sequence[int], seed: str, count: int) -> Iterator[tuple[int, ...]]:
    """So many cycles, design after design, each drawn anew; the last design may be cut short."""
    for number in range(count):
        at = number % design_length(len(lanes))
        if at == 0:
            rows = design(lanes, f"{seed}/{number}")
        yield rows[at]


def design_length(lanes: int) -> int:
    """Cycles of one design of so many lanes."""
    return lanes if lanes % 2 == 0 or lanes == 1 else 2 * lanes


def whole_designs(lanes: int, least: int) -> int:
    """The fewest cycles that make whole designs and are at least so many."""
    length = design_length(lanes)
    return -(-least // length) * length
