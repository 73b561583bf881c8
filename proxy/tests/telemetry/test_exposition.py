"""What Prometheus reads, written and read back in both forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.exposition import Family, Form, lines, single, written
from proxy.tests.scrapes import read


@pytest.mark.parametrize("form", list(Form))
@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), st.text(max_size=20), min_size=1))
def test_any_label_is_read_back(form: Form, labels: dict[str, str]) -> None:
    family = Family("x", "gauge", "Text", [(written(labels, labels.values()), 1)])

    assert read("".join(lines([family], form)), form) == {"x": [(labels, 1)]}


@pytest.mark.parametrize("form", list(Form))
def test_a_counter_ends_in_total_in_either_form(form: Form) -> None:
    text = "".join(lines([single("a_total", 2.5), single("b", 3)], form))

    assert read(text, form) == {"a_total": [({}, 2.5)], "b": [({}, 3)]}
    assert ("# TYPE a counter" in text) == (form is Form.OPEN_METRICS)
    assert text.endswith("# EOF\n") == (form is Form.OPEN_METRICS)


def test_the_checker_sees_a_series_that_is_there_twice() -> None:
    """P04: what it looks for in every scrape of these tests."""
    twice = Family("x", "gauge", "Text", [('a="1"', 1), ('a="2"', 1), ('a="1"', 1)])

    for form in Form:
        with pytest.raises(ValueError, match=r"twice|Duplicate|Invalid"):
            read("".join(lines([twice], form)), form)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.PROMETHEUS),
        ("*/*", Form.PROMETHEUS),
        ("application/openmetrics-text;version=1.0.0;q=0.5, text/plain;q=0.1", Form.OPEN_METRICS),
        ("text/plain,APPLICATION/OPENMETRICS-TEXT", Form.OPEN_METRICS),
        ("application/openmetrics-texts", Form.PROMETHEUS),
    ],
)
def test_the_form_that_is_asked_for(accept: str, form: Form) -> None:
    assert Form.accepted(accept) is form
