"""How far a cell is from its configuration's usual value, as a colour."""

from __future__ import annotations

import pytest

from harness.report.matrix import shade


@pytest.mark.parametrize(
    ("value", "usual", "steps"),
    [(1.0, 1.0, 0), (1.04, 1.0, 0), (1.07, 1.0, 1), (0.9, 1.0, -2), (2.0, 1.0, 3), (0.3, 1.0, -3)],
)
def test_the_farther_the_darker(value: float, usual: float, steps: int) -> None:
    assert shade(value, usual) == steps


@pytest.mark.parametrize(
    ("value", "usual", "steps"), [(0.0, 1.0, -3), (1.0, 0.0, 3), (0.0, 0.0, 0), (-1e-6, 1e-6, -3)]
)
def test_a_value_that_came_to_nothing_is_shown_too(value: float, usual: float, steps: int) -> None:
    """A report was not written where one cell of a whole run had no CPU time between two readings."""
    assert shade(value, usual) == steps
