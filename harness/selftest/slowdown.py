"""A real slowdown: two testbeds measured in turns, the proxies of one with a delay injected into them.

What the statistics say of it is the analysis' to tell; here are the values of each round, valid cells alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from harness.engines.choice import Choice
from harness.evidence.model import CellStatus
from harness.load.records import PROBE_FIELDS
from harness.plan.model import Cell, State
from harness.plan.order import plan
from harness.run.story import judge
from harness.selftest.bench import AlteredBed, HarmedBench
from harness.selftest.harm import Harm
from harness.suite.model import Suite
from harness.suite.resolve import load_suite
from harness.topology.allocator import resolve

EFFECT = 1.10
LOAD = (
    "load.first_packet={ probes = 30, later_requests = 1, gap_ms = 2.0, later_interval_ms = 1.0 }",
    "load.rate={ hz = 200, seconds = 0, connections = 2 }",
    "load.requests={ connections = 4, seconds = 0 }",
    "load.transfer={ streams = 2, seconds = 0 }",
)
"""First packets alone: a minute for thirty rounds of both."""
TRIES = 3
"""Cells from which the usual first packet is taken, of which the delay is a share."""
SABOTAGED = "proxy.tests.sabotaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """The same cell in every round, slowed down and as it is."""

    delay_s: float
    """Injected into each new connection at the source's proxy."""
    usual_s: float
    """Warm first packet, before anything was injected."""
    slow: dict[int, float]
    """Round -> median warm first packet, seconds."""
    honest: dict[int, float]


def carry_out(choice: Choice, rounds: int, told: Callable[[str], None], *, seed: int = 1) -> Slowdown:
    """Measure both, in shuffled turns.

    Raises:
        BringUpFailed: A testbed did not come up.
        ControlError: A member is gone.
    """
    suite = load_suite("smoke", [*LOAD])
    cell = next(each for each in plan(suite, seed=seed).cells if each.configuration == suite.default)
    order = random.Random(seed)  # noqa: S311  # the order of measurements is no secret
    with ExitStack() as stack:
        honest = _bench(stack, choice, suite, (), told)
        found = [_warm_s(honest, cell) for _ in range(TRIES)]
        usual = float(np.median([each for each in found if each is not None] or [1e-3]))
        delay = usual * (EFFECT - 1)
        told(f"a warm first packet takes {usual * 1e3:.2f} ms: {delay * 1e6:.0f} us are injected")
        slow = _bench(stack, choice, suite, (SABOTAGED, "delay", f"{delay:.9f}"), told)
        values: dict[str, dict[int, float]] = {"slow": {}, "honest": {}}
        for number in range(1, rounds + 1):
            turns = [("slow", slow), ("honest", honest)]
            order.shuffle(turns)
            for name, bench in turns:
                value = _warm_s(bench, cell)
                if value is not None:
                    values[name][number] = value
    return Slowdown(delay_s=delay, usual_s=usual, **values)


def _bench(
    stack: ExitStack, choice: Choice, suite: Suite, alteration: tuple[str, ...], told: Callable[[str], None]
) -> HarmedBench:
    bed = AlteredBed(
        choice=choice,
        topology=resolve(suite.topology),
        dataplane="pyztunnel",
        interception=suite.default.interception,
        suite=suite.name,
        alteration=alteration,
        told=told,
    )
    stack.enter_context(bed)
    bench = HarmedBench(bed, suite)
    bench.harm = Harm(bed)
    stack.callback(bench.close)
    return bench


def _warm_s(bench: HarmedBench, cell: Cell) -> float | None:
    """Median time to the first byte over warm tunnels; None from a cell that is not valid."""
    measured = bench.measure(cell)
    if judge(bench.suite, bench.bed.topology, cell, measured).status is not CellStatus.VALID:
        return None
    rows = np.frombuffer(measured.payloads["probe"], dtype="<i8").reshape(-1, len(PROBE_FIELDS))
    at = {name: index for index, name in enumerate(PROBE_FIELDS)}
    warm = rows[
        (rows[:, at["sequence"]] == 0)
        & (rows[:, at["state"]] == list(State).index(State.WARM))
        & (rows[:, at["ok"]] == 1)
    ]
    return float(np.median(warm[:, at["first_byte_ns"]] - warm[:, at["start_ns"]])) / 1e9
