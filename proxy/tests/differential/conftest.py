"""The real ztunnel's program."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.tests.ztunnel import binary


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ZTUNNEL`, or what the shared folder has, unpacked; skips the test where there is neither."""
    return binary(tmp_path_factory.mktemp("ztunnel"))
