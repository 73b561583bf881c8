"""The real ztunnel's program."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared" / "bin"
"""Beside the checkout; in CI the clone is beside it as well."""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ZTUNNEL`, or what the shared folder has, unpacked; skips the test where there is neither."""
    named = os.environ.get("ZTUNNEL")
    if named:
        return Path(named)
    packed = SHARED / "ztunnel.xz"
    if packed.exists():
        unpacked = tmp_path_factory.mktemp("ztunnel") / "ztunnel"
        unpacked.write_bytes(lzma.decompress(packed.read_bytes()))
        unpacked.chmod(0o755)
        return unpacked
    missing = f"no real ztunnel: ZTUNNEL is not set, and there is no {packed}"
    if os.environ.get("CI") == "true" and SHARED.exists():
        pytest.fail(f"has to work where CI=true and {SHARED} exists: {missing}", pytrace=False)
    pytest.skip(missing)
