"""The Locust process with something spoilt in it: `python3 -m harness.tests.load.sabotaged together|first`.

For `ambientbench selftest`, whose checks have to find it. The other arguments are the driver's own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from unittest.mock import patch

from harness.load import driver, stage


def together() -> None:
    """Lanes have their blocks at the same time."""

    def turns(self: stage.Stage[stage.LaneLoad]) -> Iterator[tuple[int, ...]]:
        return iter([tuple(self.lanes)] * self.cycles)

    patch.object(stage.Stage, "turns", turns).start()


def first() -> None:
    """The lane of the least number is the first of every cycle."""

    def cycles(lanes: Sequence[int], _seed: str, count: int) -> Iterator[tuple[int, ...]]:
        return iter([tuple(sorted(lanes))] * count)

    patch.object(stage, "cycles", cycles).start()


SPOIL = {"together": together, "first": first}

if __name__ == "__main__":
    SPOIL[sys.argv.pop(1)]()
    driver.main()
