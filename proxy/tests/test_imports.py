"""Who imports whom, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import proxy

ROOT = Path(proxy.__file__).parent.parent


def modules() -> dict[str, Path]:
    """The proxy's own modules by name; tests and generated code left out."""
    found = {}
    for path in (ROOT / "proxy").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if ".tests" not in name and not name.endswith("_pb2"):
            found[name] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """What a module imports when it is loaded, packages on the way included."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    for name in tuple(names):
        parts = name.split(".")
        names.update(".".join(parts[:length]) for length in range(1, len(parts)))
    return names & set(known) | {name for name in names if not name.startswith("proxy")}


@cache
def graph() -> dict[str, set[str]]:
    known = modules()
    edges = {}
    for name, path in known.items():
        own_packages = {name.rpartition(".")[0], "proxy", name}
        edges[name] = imported(path, known) - own_packages
    return edges


def test_there_are_no_cycles() -> None:
    """A cycle shows only when the wrong module happens to be the first, as in another process."""
    edges = {name: {other for other in found if other.startswith("proxy")} for name, found in graph().items()}

    TopologicalSorter(edges).prepare()


def test_the_proxy_imports_nothing_of_the_harness() -> None:
    offenders = [
        name for name, found in graph().items() if any(other.startswith("harness") for other in found)
    ]

    assert offenders == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("proxy.hbone", {"socket", "ssl", "asyncio", "time"}),
        ("proxy.rbac", {"socket", "ssl", "asyncio", "time"}),
        ("proxy.routing", {"socket", "ssl", "asyncio", "time"}),
        ("proxy.state.mesh", {"socket", "ssl", "asyncio", "time"}),
        ("proxy.state.document", {"socket", "ssl", "asyncio", "time"}),
    ],
)
def test_pure_parts_know_no_sockets_no_tls_and_no_clock(package: str, forbidden: set[str]) -> None:
    found = {
        name: others & forbidden for name, others in graph().items() if f"{name}.".startswith(f"{package}.")
    }

    assert found
    assert {name: others for name, others in found.items() if others} == {}


def test_the_command_line_loads_neither_grpc_nor_http2_before_it_serves() -> None:
    code = "import sys, proxy.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert not set(done.stdout.split()) & {"grpc", "h2", "cryptography", "uvloop"}
