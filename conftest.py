"""Tests that need an engine: skipped where it does not work, failed there when CI says it has to."""

from __future__ import annotations

import functools
import os

import pytest

from harness.engines import choice


@functools.cache
def _unfit(engine: str) -> str | None:
    return choice.named(engine).unfit()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look at the marks `netns` and `docker`."""
    for engine in choice.known():
        if item.get_closest_marker(engine) is None:
            continue
        reason = _unfit(engine)
        if reason is None:
            continue
        if os.environ.get("CI") == "true":
            pytest.fail(f"engine {engine} has to work where CI=true: {reason}", pytrace=False)
        pytest.skip(f"engine {engine}: {reason}")
