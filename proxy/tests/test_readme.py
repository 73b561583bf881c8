"""What the README says of tests is true of those that exist."""

from __future__ import annotations

import ast
import re

import pytest

from proxy.tests.ids.collect import ROOT

NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "proxy/README.md").read_text(encoding="utf-8"))


def test_tests_are_named() -> None:
    assert len(NAMED) > 10


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))

    assert name in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
