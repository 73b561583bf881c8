"""From a suite to a plan: every bout once in every round, its configurations on lanes by a Latin square.

Rounds are complete blocks, each with an order of its own, so that what drifts during a run (temperature,
neighbours, caches) meets every bout alike. From round to round the configurations of a bout move on by one
lane: over as many rounds as there are lanes each has stood on each, so that no lane passes for a factor.

Source of the design: Cochran and Cox, Experimental Designs, chapters 4 (Latin squares, cross-over).
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from random import Random

from harness.plan.bouts import bouts
from harness.plan.model import Cell, Plan
from harness.plan.predict import Costs, predict
from harness.suite.model import Suite

LOOK_EVERY = 3
"""Rounds between two looks: each further one makes all intervals a little wider."""


def looks(rounds: int, most: int) -> tuple[int, ...]:
    """After which rounds a run looks whether its questions are answered; the last one is its end."""
    return (*range(rounds, most, LOOK_EVERY), most)


def plan(suite: Suite, *, seed: int | None = None, costs: Costs | None = None) -> Plan:
    """Lay out all cells of a suite.

    A plan with more rounds begins with the cells of the shorter one.

    Args:
        suite: What to measure.
        seed: Of the orders; the suite's when None, drawn when the suite has none either.
        costs: What to predict with; those of this project's own measurements by default.
    """
    if seed is None:
        seed = suite.seed if suite.seed is not None else secrets.randbits(32)
    random = Random(seed)  # noqa: S311  # an order that can be repeated, not a secret
    groups = bouts(suite.configurations, suite.default, lanes=suite.lanes, twin=suite.twin)
    lanes = max(map(len, groups))
    square = random.sample(range(lanes), lanes)
    cells: list[Cell] = []
    for number in range(1, suite.most_rounds + 1):
        for bout in random.sample(range(len(groups)), len(groups)):
            for position, configuration in enumerate(groups[bout]):
                lane = 1 + square[(position + number - 1) % lanes]
                cells.append(
                    Cell(index=len(cells), round=number, bout=bout, lane=lane, configuration=configuration)
                )
    laid_out = Plan(
        suite=suite.name,
        seed=seed,
        rounds=suite.most_rounds,
        load=suite.load,
        cells=tuple(cells),
        predicted_s=0.0,
    )
    return replace(laid_out, predicted_s=predict(laid_out, costs or Costs()))
