"""What the tests of this folder share."""

from __future__ import annotations

import pytest

from proxy.tests.hbone.pair import Pair


@pytest.fixture(params=[1 << 30, 1, 7], ids=["whole", "byte-by-byte", "by-sevens"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(portion=request.param)
