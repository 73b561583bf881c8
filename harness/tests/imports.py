"""The project's imports, read from its source: module -> what it imports, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("harness", "proxy")


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target."""

    module: str
    line: int
    at_start: bool
    """Whether it happens as the module is imported, not within a function and not for types alone."""


@cache
def imports() -> dict[str, tuple[Import, ...]]:
    """Every module of the project, tests left out, with what it imports."""
    return {
        _name(path): tuple(_read(path))
        for package in OURS
        for path in sorted((ROOT / package).rglob("*.py"))
        if "tests" not in path.parts and not path.stem.endswith("_pb2")
    }


def started_by(module: str) -> set[str]:
    """Everything that importing `module` imports, parents included; of others' packages the top alone."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in _with_parents(waiting.pop()):
            if name in found:
                continue
            found.add(name)
            waiting += [each.module for each in imports().get(name, ()) if each.at_start]
    return {name if name.split(".")[0] in OURS else name.split(".")[0] for name in found}


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(), filename=str(path))
    later = {id(inner) for node in ast.walk(tree) if _is_later(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import; write the whole name"
            targets = list(_from(node))
        else:
            continue
        for target in targets:
            yield Import(module=target, line=node.lineno, at_start=id(node) not in later)


def _from(node: ast.ImportFrom) -> Iterator[str]:
    """The modules that `from X import a, b` names: X.a where that is a module of ours, else X."""
    for alias in node.names:
        inner = f"{node.module}.{alias.name}"
        parts = inner.split(".")
        place = ROOT.joinpath(*parts)
        ours = parts[0] in OURS and (place.is_dir() or place.with_suffix(".py").is_file())
        yield inner if ours else str(node.module)


def _is_later(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
