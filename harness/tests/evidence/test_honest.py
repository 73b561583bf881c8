"""Honest evidence is found valid, whatever the factors."""

from __future__ import annotations

import pytest

from harness.evidence import checks
from harness.evidence.model import CellStatus, CheckStatus
from harness.evidence.verdict import evaluate
from harness.plan.model import Configuration
from harness.tests.evidence.walk import CONFIGURATIONS, honest


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda configuration: configuration.key)
def test_honest_cell_is_valid(configuration: Configuration) -> None:
    verdict = evaluate(honest(configuration))

    without_proxy = {"canary", "refusal", "started-anew"} if configuration.dataplane == "none" else set()
    assert {
        check.name for check in verdict.checks if check.status is CheckStatus.NOT_APPLICABLE
    } == without_proxy
    assert {
        check.name: check.reason
        for check in verdict.checks
        if check.status is not CheckStatus.VALID and check.name not in without_proxy
    } == {}
    assert verdict.status is CellStatus.VALID
    assert verdict.remarks == ()


def test_every_check_runs_and_gives_figures() -> None:
    verdict = evaluate(honest(CONFIGURATIONS[8]))

    assert [check.name for check in verdict.checks] == ["evidence", *checks.known()]
    assert all(check.numbers and check.reason for check in verdict.checks)
