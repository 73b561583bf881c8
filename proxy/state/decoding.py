"""JSON decoded beside the traffic, and no more leniently than another reader would: of a key that is in an
object twice, each might take another value.
"""

from __future__ import annotations

import json
import marshal
from collections import Counter
from typing import Any

from proxy.background import breathe
from proxy.state.fields import Malformed, shown


class Twice(dict[str, Any]):
    """An object in which a key came twice."""

    twice: str
    """The key."""


def decode(document: bytes) -> Any:
    """The value that a document in UTF-8 has, with or without a byte order mark.

    Raises:
        ValueError: It is no JSON; NaN and infinities are none.
        RecursionError: It is nested too deeply.
    """
    return _DECODER.decode(document.decode("utf-8-sig"))


def encode(value: Any) -> bytes | None:
    """A decoded value as bytes that tell whether another is the same; None where a key is in it twice.

    A twentieth of its size in memory. 1 and true, which Python takes for equal, are told apart.
    """
    try:
        return marshal.dumps(value, _PLAIN)
    except ValueError:  # a Twice is no plain object
        return None


def refuse_twice(value: object, where: str) -> None:
    """Look for keys that are there twice.

    Raises:
        Malformed: There is one; with its place.
    """
    if isinstance(value, Twice):
        raise Malformed(f"{where}: {shown(value.twice)} is there twice")
    if isinstance(value, dict):
        for key, inner in value.items():
            refuse_twice(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            refuse_twice(inner, f"{where}[{index}]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    breathe()
    value: dict[str, Any] = dict(pairs)
    if len(value) == len(pairs):
        return value
    marked = Twice(value)
    [(marked.twice, _)] = Counter(key for key, _ in pairs).most_common(1)
    return marked


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _integer(digits: str) -> int | float:
    """Python converts no thousands of digits, and one field is no reason to refuse the whole document."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
_PLAIN = 2
"""The last version of marshal's format in which equal values are equal bytes, however they are shared."""
