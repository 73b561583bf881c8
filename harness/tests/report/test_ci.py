"""What CI reads is well-formed whatever a name holds, and fits."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from harness.report.ci import ANNOTATIONS, Case, Ending, capped, github, junit

HOSTILE = 'a <b> & "c", 50 %: 1\n::error::x'


def case(ending: Ending, name: str = "warm") -> Case:
    return Case(group="cross-node", name=name, ending=ending, because=HOSTILE)


def test_junit_counts_and_carries_reasons() -> None:
    found = ET.fromstring(junit("gates", [case(each) for each in Ending]))  # noqa: S314  # our own

    assert {key: found.attrib[key] for key in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    assert [child.tag for each in found for child in each] == ["failure", "skipped"]
    assert found[1][0].attrib["message"] == HOSTILE


def test_annotations_are_one_line_each_and_no_more_than_are_shown() -> None:
    lines = list(github([case(Ending.FAILED, HOSTILE)] * (ANNOTATIONS + 3) + [case(Ending.PASSED)]))

    assert len(lines) == ANNOTATIONS + 1
    assert all("\n" not in line for line in lines)
    assert lines[0] == (
        '::error title=cross-node a <b> & "c"%2C 50 %25%3A 1%0A%3A%3Aerror%3A%3Ax::'
        'a <b> & "c", 50 %25: 1%0A::error::x'
    )
    assert lines[-1].startswith("::warning ::3 more")


def test_a_summary_is_cut_between_lines_and_says_so() -> None:
    text = "".join(f"| é row {number} |\n" for number in range(1000))

    cut = capped(text, 2000)

    assert len(cut.encode()) <= 2000
    assert "Cut here" in cut
    assert cut.split("\n\n</details>", 1)[0] in text
    assert capped(text) == text
