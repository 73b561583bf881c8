"""How ids are found, and that an id without a test or with two answers is a problem."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from proxy.tests.ids.catalogue import catalogue, mentioned
from proxy.tests.ids.collect import Test, by_id
from proxy.tests.ids.mutate import MUTATIONS, lacking
from proxy.tests.ids.report import report

CATALOGUE = {"attacks": {"T01": "one", "T02": "two"}}


@pytest.mark.parametrize(
    ("prose", "ids"),
    [
        ("T03: a header block over the cap.", {"T03"}),
        ("T06 to T08, B75.", {"T06", "T07", "T08", "B75"}),
        ("test_t09b_lives", {"T09b"}),
        ("h2spec http2/5.1.2 and generic/3.10", {"http2/5.1.2", "generic/3.10"}),
        ("BT01, T1, T0123", set()),
    ],
)
def test_ids_in_prose(prose: str, ids: set[str]) -> None:
    assert ids == mentioned(prose)


def test_ids_of_tests(tmp_path: Path) -> None:
    """In a name, a docstring, a file's docstring, a parameter, a table of parameters; nowhere else."""
    (tmp_path / "proxy" / "tests").mkdir(parents=True)
    (tmp_path / "proxy" / "tests" / "test_some.py").write_text(
        dedent('''
            """F01."""
            TABLE = [("T03", 1), ("says T04", 2)]
            @pytest.mark.parametrize("n", [1], ids=["T02"])
            def test_t01(n):
                "B50: never."
                assert n == "T05"
            @pytest.mark.parametrize("row", TABLE)
            async def test_table(row): ...
            def helper():
                "T06."
        '''),
        encoding="utf-8",
    )
    file = "proxy/tests/test_some.py"
    single, table = Test(file=file, name="test_t01"), Test(file=file, name="test_table")

    assert by_id(tmp_path) == {
        "F01": [Test(file=file, name=None)],
        "T01": [single],
        "T02": [single],
        "B50": [single],
        "T03": [table],
    }


def test_an_id_has_a_test_or_a_reason() -> None:
    test = Test(file="test_a.py", name="test_b")

    assert not report(CATALOGUE, {"T01": [test]}, {"T02": "out of scope"}).problems
    assert len(report(CATALOGUE, {"T01": [test]}, {}).problems) == 1
    assert len(report(CATALOGUE, {"T01": [test], "T02": [test]}, {"T02": "out of scope"}).problems) == 1
    assert len(report(CATALOGUE, {"T01": [test], "T02": [test]}, {"T99": "unknown"}).problems) == 1


def test_ids_are_spelled_as_tests_spell_them() -> None:
    for section in catalogue().values():
        for each in section:
            assert {each} == mentioned(each)


def test_every_guard_can_be_switched_off() -> None:
    some = [each for each in MUTATIONS.values() if each.id != "T57" and each.guard != "pings"]

    assert lacking(MUTATIONS.values()) == []
    assert lacking(some) == [
        "T06: no mutation switches its guard off",
        "T57: no mutation switches its guard off",
        "limit pings: no mutation lifts it",
    ]
