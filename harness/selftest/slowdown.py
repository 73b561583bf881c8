"""A real slowdown: one configuration on two lanes, in turns, the proxies of one with a delay in them.

The slowed one moves from lane to lane as every configuration does. What the statistics say of it is the
analysis' to tell; here are the values of each round, of bouts whose cells are all valid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from harness.engines.choice import Choice
from harness.evidence.model import CellStatus
from harness.load.records import PROBE_FIELDS
from harness.plan.model import Bout, Cell, State
from harness.plan.order import plan
from harness.run.bout import Measured, placement
from harness.run.story import judge
from harness.selftest.bed import AlteredBed
from harness.selftest.bench import HarmedBench
from harness.suite.model import Suite
from harness.suite.resolve import load_suite
from harness.topology.allocator import resolve

EFFECT = 1.10
ONLY = (
    "matrix=[{ path = ['cross-node'], dataplane = ['pyztunnel'], interception = ['redirect'] }]",
    "lanes=2",
    "twin=true",
    "load.first_packet={ probes = 30, later_requests = 10, gap_ms = 2.0, later_interval_ms = 1.0 }",
    "load.rate={ hz = 200, seconds = 0, connections = 2 }",
    "load.requests={ connections = 4, seconds = 0 }",
    "load.transfer={ streams = 2, seconds = 0 }",
)
"""One configuration and its twin, first packets and later ones alone."""
SABOTAGED = "proxy.tests.sabotaged"

Values = dict[tuple[int, int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """The same configuration in every round, slowed down and as it is."""

    delay_s: float
    """Injected into each new connection at the source's proxy."""
    usual_s: float
    """Warm first packet, before anything was injected."""
    slow: Values
    """Round and bout -> median warm first packet, seconds."""
    honest: Values


class SlowedBench(HarmedBench):
    """Measures as `run` does; the twin's proxies are those that are slowed down."""

    def _place(self, bout: Bout) -> None:
        self.bed.altered = frozenset(cell.lane for cell in bout.cells if cell.configuration.twin)
        super()._place(bout)


def carry_out(choice: Choice, rounds: int, told: Callable[[str], None], *, seed: int = 1) -> Slowdown:
    """Measure both, in turns.

    Raises:
        BringUpFailed: The testbed did not come up.
        ControlError: A member is gone.
    """
    suite = load_suite("smoke", [*ONLY, f"rounds={rounds + 1}"])
    laid_out = plan(suite, seed=seed)
    calibration, *bouts = laid_out.bouts
    with ExitStack() as stack:
        bed = stack.enter_context(
            AlteredBed(
                choice=choice,
                topology=resolve(suite.topology, laid_out.lanes),
                placements=tuple(placement(cell.configuration) for cell in calibration.cells),
                suite=suite.name,
                told=told,
            )
        )
        bench = SlowedBench(bed, suite, seed)
        stack.callback(bench.close)
        usual = float(np.median(list(_valid(suite, bed, bench.measure(calibration)).values()) or [1e-3]))
        delay = usual * (EFFECT - 1)
        told(f"a warm first packet takes {usual * 1e3:.2f} ms: {delay * 1e6:.0f} us are injected")
        bed.alteration = (SABOTAGED, "delay", f"{delay:.9f}")
        slow, honest = Values(), Values()
        for bout in bouts:
            found = _valid(suite, bed, bench.measure(bout))
            if len(found) == len(bout.cells):
                for cell, value in found.items():
                    side = slow if cell.configuration.twin else honest
                    side[cell.round, cell.bout] = value
    return Slowdown(delay_s=delay, usual_s=usual, slow=slow, honest=honest)


def _valid(suite: Suite, bed: AlteredBed, measured: Mapping[Cell, Measured]) -> dict[Cell, float]:
    """Median time to the first byte over warm tunnels, of each cell that is valid."""
    return {
        cell: _warm_s(found)
        for cell, found in measured.items()
        if judge(suite, bed.topology, cell, found).status is CellStatus.VALID
    }


def _warm_s(measured: Measured) -> float:
    rows = np.frombuffer(measured.payloads["probe"], dtype="<i8").reshape(-1, len(PROBE_FIELDS))
    at = {name: index for index, name in enumerate(PROBE_FIELDS)}
    warm = rows[
        (rows[:, at["sequence"]] == 0)
        & (rows[:, at["state"]] == list(State).index(State.WARM))
        & (rows[:, at["ok"]] == 1)
    ]
    return float(np.median(warm[:, at["first_byte_ns"]] - warm[:, at["start_ns"]])) / 1e9
