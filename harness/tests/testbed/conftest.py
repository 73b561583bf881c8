"""A place for runs that only this test uses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.testbed import rundir


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of all runs, not made yet; short, as pytest's own folders are not."""
    place = Path(tempfile.mkdtemp(prefix="ab"))
    monkeypatch.setattr(rundir, "base", lambda: place / "runs")
    yield place / "runs"
    shutil.rmtree(place)
