"""What a run on older sources is taken to say."""

from __future__ import annotations

import pytest

from proxy.tests.ids.against import FAILS, Result, outcome, unproven
from proxy.tests.ids.collect import Test

TEST = Test(file="proxy/tests/test_some.py", name="test_some")


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (0, "1 passed in 0.1s", Result.PASSED),
        (0, "1 skipped in 0.1s", Result.SKIPPED),
        (1, "1 failed, 3 passed in 0.1s", Result.FAILED),
        (2, "ImportError: cannot import name 'Life'", Result.IMPORT),
        (4, "ModuleNotFoundError: No module named 'proxy.pool.life'", Result.IMPORT),
        (2, "SyntaxError", Result.ERROR),
        (3, "INTERNALERROR", Result.ERROR),
        (5, "no tests ran", Result.ERROR),
    ],
)
def test_a_result_is_told_from_the_exit_code(code: int, said: str, expected: Result) -> None:
    assert outcome(code, said) is expected


@pytest.mark.parametrize("result", Result)
def test_an_id_is_proven_by_one_test_that_fails(result: Result) -> None:
    rows = [("P01", TEST, Result.PASSED), ("P01", TEST, result), ("P02", None, Result.ERROR)]

    assert unproven(rows) == (["P02"] if result in FAILS else ["P01", "P02"])
