"""Which test mentions which id, from the source alone: nothing is imported, nothing runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.tests.ids.catalogue import mentioned

ROOT = Path(__file__).parents[3]
FOLDERS = ("proxy/tests", "harness/tests")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Test:
    """A test function, or a file whose docstring speaks for all of its tests."""

    __test__ = False

    file: str
    name: str | None
    """None: the whole file."""

    def __str__(self) -> str:
        return f"{self.file}::{self.name}" if self.name else self.file


def by_id(root: Path = ROOT) -> dict[str, list[Test]]:
    """Tests by id, single tests before whole files."""
    found: dict[str, set[Test]] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("test_*.py")):
            for test, ids in _of_source(path.read_text(encoding="utf-8"), str(path.relative_to(root))):
                for each in ids:
                    found.setdefault(each, set()).add(test)
    return {each: sorted(tests, key=lambda t: (t.name is None, str(t))) for each, tests in found.items()}


def _of_source(source: str, file: str) -> Iterator[tuple[Test, set[str]]]:
    tree = ast.parse(source)
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    ]
    if functions:
        yield Test(file=file, name=None), mentioned(ast.get_docstring(tree) or "")
    tables = _tables(tree)
    for node in functions:
        ids = mentioned(node.name) | mentioned(ast.get_docstring(node) or "")
        for decorator in node.decorator_list:
            ids |= _of_parameters(decorator)
            for name in ast.walk(decorator):
                if isinstance(name, ast.Name) and name.id in tables:
                    ids |= _of_parameters(tables[name.id])
        yield Test(file=file, name=node.name), ids


def _tables(tree: ast.Module) -> dict[str, ast.expr]:
    """Module-level values by name: what tests are parametrised with."""
    tables = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tables[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            tables[node.target.id] = node.value
    return tables


def _of_parameters(node: ast.expr) -> set[str]:
    """Ids at the start of strings: parameters' ids, a table's first column."""
    ids = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            ids |= {each for each in mentioned(part.value) if part.value.startswith(each)}
    return ids
