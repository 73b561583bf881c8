"""Figures as people read them."""

from __future__ import annotations

import pytest

from harness.analysis.text import quantity, significant, span


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.000972, "s", "972 µs"),
        (0.0009994, "s", "999 µs"),
        (0.0009997, "s", "1.00 ms"),
        (999.7e6, "bit/s", "1.00 Gb/s"),
        (20_800.0, "requests/s", "20,800 req/s"),
        (0.0, "s", "0 µs"),
    ],
)
def test_a_quantity_has_three_digits_in_the_unit_that_suits_them(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(("value", "text"), [(2484.0, "2,480"), (0.000362, "0.000362"), (9.996, "10.0")])
def test_no_number_is_in_powers_of_ten(value: float, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(("counts", "text"), [([6, 6], "6"), ([6, 5, 1200], "5 to 1,200")])
def test_a_span_is_one_number_where_all_are_equal(counts: list[int], text: str) -> None:
    assert span(counts) == text
