"""From a suite to a plan: every configuration once in every round, each round in an order of its own."""

from __future__ import annotations

import secrets
from random import Random

from harness.plan.model import Cell, Plan
from harness.plan.predict import Costs, predict
from harness.suite.model import Suite


def plan(suite: Suite, *, seed: int | None = None, costs: Costs | None = None) -> Plan:
    """Lay out all cells of a suite.

    Rounds are complete blocks: what drifts during a run (temperature, neighbours, caches) meets every
    configuration of a round alike, and the shuffle keeps a fixed order from favouring one of them.

    Args:
        suite: What to measure.
        seed: Of the order; the suite's when None, drawn when the suite has none either.
        costs: What to predict with; those of this project's own measurements by default.
    """
    if seed is None:
        seed = suite.seed if suite.seed is not None else secrets.randbits(32)
    random = Random(seed)  # noqa: S311  # an order that can be repeated, not a secret
    cells: list[Cell] = []
    for number in range(1, suite.rounds + 1):
        block = list(suite.configurations)
        random.shuffle(block)
        start = len(cells)
        for position, configuration in enumerate(block):
            cells.append(Cell(index=start + position, round=number, configuration=configuration))
    costs = costs or Costs()
    return Plan(
        suite=suite.name,
        seed=seed,
        rounds=suite.rounds,
        load=suite.load,
        cells=tuple(cells),
        predicted_s=sum(predict(cell.configuration, suite.load, costs) for cell in cells),
    )
