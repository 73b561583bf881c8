"""Documents are decoded as the standard library decodes them, but for what it is too lenient with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.state.decoding import Twice, decode, encode, refuse_twice
from proxy.state.fields import Malformed

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(value=VALUES)
def test_what_is_written_is_found(value: Any) -> None:
    assert decode(json.dumps(value).encode()) == value


@given(left=VALUES, right=VALUES)
def test_bytes_are_the_same_where_the_text_is(left: Any, right: Any) -> None:
    """Python's own comparison takes 1 for true."""
    assert (encode(left) == encode(right)) is (json.dumps(left) == json.dumps(right))
    assert encode(left) == encode(decode(json.dumps(left).encode()))


@pytest.mark.parametrize("text", ["", "{", "[1,]", '{"a": 1,}', "NaN", "[Infinity]", '{"a" 1}', "1 2"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Illegal|no JSON number|Extra data"):
        decode(text.encode())


def test_a_key_that_is_there_twice_is_told_with_its_place() -> None:
    value = decode(b'{"a": [{"b": 1, "c": 2, "b": 3}]}')

    assert isinstance(value["a"][0], Twice)
    assert encode(value) is None
    with pytest.raises(Malformed, match=r"^x\.a\[0\]: 'b' is there twice"):
        refuse_twice(value, "x")


def test_a_number_of_thousands_of_digits_is_no_whole_number() -> None:
    """P29."""
    assert decode(b"[1, " + b"1" * 5000 + b"]") == [1, float("inf")]
