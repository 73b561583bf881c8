"""Waiting for a state instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(state: Callable[[], T], *, within_s: float = 10.0) -> T:
    """The first truthy value of `state`; AssertionError when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = state()
        if value:
            return value
        assert time.monotonic() < deadline, f"not reached within {within_s} s; last seen: {value!r}"
        time.sleep(0.01)
