"""A text is taken apart as the standard library's decoder would take it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.cursor import Cursor

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
DOCUMENTS = st.dictionaries(
    st.text(max_size=4),
    st.lists(SCALARS | st.dictionaries(st.text(max_size=4), SCALARS, max_size=3), max_size=4),
)
INDENTS = st.sampled_from([None, 0, 3])


class OtherShape(Exception):
    """Not an object of lists."""


def taken_apart(text: str) -> dict[str, list[Any]]:
    """An object of lists."""
    cursor = Cursor(text)
    found = {}
    if cursor.char != "{":
        raise OtherShape
    for name in cursor.members():
        if cursor.char != "[":
            raise OtherShape
        found[name] = [cursor.value()[0] for _ in cursor.items()]
    cursor.end()
    return found


@given(document=DOCUMENTS, indent=INDENTS)
def test_what_is_written_is_found(document: dict[str, list[Any]], indent: int | None) -> None:
    assert taken_apart(json.dumps(document, indent=indent)) == document


@given(
    document=DOCUMENTS,
    indent=INDENTS,
    place=st.floats(0, 1),
    cut=st.integers(0, 2),
    put=st.text(alphabet='{}[]",: x1\n', max_size=2),
)
def test_what_is_no_json_is_refused(
    document: dict[str, list[Any]], indent: int | None, place: float, cut: int, put: str
) -> None:
    """At some place something is cut out and something else put in."""
    text = json.dumps(document, indent=indent)
    at = round(place * len(text))
    text = text[:at] + put + text[at + cut :]
    try:
        expected = json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises((json.JSONDecodeError, OtherShape)):
            taken_apart(text)
    else:
        if isinstance(expected, dict) and all(isinstance(value, list) for value in expected.values()):
            assert taken_apart(text) == expected


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ('{"a": [1, ]}', "Expecting value: line 1 column 11"),
        ('{"a": [1 2]}', "Expecting ',' delimiter: line 1 column 10"),
        ('{"a": [1],}', "Expecting property name enclosed in double quotes: line 1 column 11"),
        ('{"a" [1]}', "Expecting ':' delimiter: line 1 column 6"),
        ('{"a": [1]} {', "Extra data: line 1 column 12"),
        ('{"a": [1]', "Expecting ',' delimiter: line 1 column 10"),
        ('{"a": [NaN]}', "NaN is no JSON number"),
    ],
)
def test_trouble_is_told_with_its_place(text: str, trouble: str) -> None:
    with pytest.raises(ValueError, match="^" + trouble.replace("[", "\\[")):
        taken_apart(text)


def test_the_same_is_stepped_over_and_nothing_else() -> None:
    cursor = Cursor('{"a": [{"x": 1}, {"x": 2}]}')
    found = [cursor.same('{"x": 1}') or cursor.value() for _ in cursor.members() for _ in cursor.items()]

    assert found == [True, ({"x": 2}, '{"x": 2}')]
