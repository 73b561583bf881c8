"""How checks make a verdict."""

from __future__ import annotations

import pytest

from harness.evidence.laws import at_least, equal, judge
from harness.evidence.model import CellStatus, Check, CheckStatus, conclude

VALID, INVALID = CheckStatus.VALID, CheckStatus.INVALID
UNKNOWN, NA = CheckStatus.UNKNOWN, CheckStatus.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((VALID, VALID), CellStatus.VALID),
        ((VALID, NA), CellStatus.VALID),
        ((VALID, UNKNOWN), CellStatus.UNKNOWN),
        ((VALID, UNKNOWN, INVALID), CellStatus.INVALID),
        ((NA, NA), CellStatus.UNKNOWN),
        ((), CellStatus.UNKNOWN),
    ],
)
def test_worst_check_decides_and_nothing_proves_nothing(
    statuses: tuple[CheckStatus, ...], expected: CellStatus
) -> None:
    checks = tuple(
        Check(name=f"c{number}", status=status, reason="") for number, status in enumerate(statuses)
    )

    assert conclude(checks, ()).status is expected


def test_slack_is_upwards_only() -> None:
    assert equal("x", 5, 5, "", slack=2).holds
    assert equal("x", 7, 5, "", slack=2).holds
    assert not equal("x", 8, 5, "", slack=2).holds
    assert not equal("x", 4, 5, "", slack=2).holds


def test_reason_names_only_what_is_broken() -> None:
    outcome = judge(
        [equal("good", 1, 1, "why"), equal("bad", 3, 2, "two were opened"), at_least("low", 0, 1, "some")]
    )

    assert outcome.status is CheckStatus.INVALID
    assert outcome.reason == ("bad is 3, expected 2 (two were opened); low is 0, expected at least 1 (some)")
    assert outcome.numbers == {"good": 1, "bad": 3, "bad expected": 2, "low": 0, "low expected": 1}


def test_summary_tells_counts_and_how_many_are_zero() -> None:
    assert judge([equal("a", 4, 4, ""), equal("b", 0, 0, "")]).reason == "a 4; 1 count is 0 as expected"
