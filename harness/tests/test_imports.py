"""Who may import whom: the arrows of the architecture, held against the source."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.tests.imports import imports, started_by

VALUES = {"plan", "suite", "topology", "errors", "interrupts", "shipped"}
"""What anybody may hold: pure values, and how a command ends early."""

ARROWS: dict[str, set[str]] = {
    # package of harness -> packages of harness that it may import, beside itself
    "cgroups": set(),
    "errors": set(),
    "interrupts": set(),
    "shipped": set(),
    "control": set(),
    "topology": {"errors"},
    "plan": {"suite", "topology"},
    "suite": {"plan", "topology", "dataplanes", "errors", "shipped"},
    # what runs in members: no more than the channel, the topology's words, and the load's own backend
    "agent": {"control", "topology"},
    "backends": {"topology"},
    "controlplane": {"control", "topology"},
    "load": {"backends", "control", "plan", "shipped", "topology"},
    # what makes members
    "engines": {"control", "errors", "shipped"},
    "dataplanes": {"agent", "control", "controlplane", "engines", "errors", "topology"},
    "testbed": {"backends", "control", "controlplane", "dataplanes", "engines", "load"} | VALUES,
    # what judges and keeps
    "evidence": {"cgroups", "control", "plan", "topology"},
    "results": {"cgroups", "load"} | VALUES,
    "run": {"control", "engines", "evidence", "load", "results", "testbed"} | VALUES,
    "analysis": {"evidence", "results"} | VALUES,
    "report": {"analysis", "dataplanes", "evidence", "results"} | VALUES,
    "selftest": {"control", "controlplane", "engines", "evidence", "load", "results", "run", "testbed"}
    | VALUES,
    "cli": {"analysis", "dataplanes", "control", "engines", "report", "results", "run", "selftest", "testbed"}
    | VALUES,
    "compose": {"control", "controlplane", "dataplanes", "engines", "testbed"} | VALUES,
    "__main__": {"cli"},
}

PROXY_SEEN_BY_HARNESS = {"proxy.config", "proxy.proto"}
"""What the harness may know of the proxy: its settings, and the wire messages that they share."""

ONLY = {
    # package from the registry -> modules (or whole packages) of ours that may import it
    "docker": {"harness.engines"},
    "duckdb": {"harness.results", "harness.analysis"},
    "gevent": {"harness.load"},
    "grpc": {"harness.controlplane", "proxy.identity"},
    "h2": {"proxy.hbone", "proxy.listeners", "proxy.pool", "proxy.relay", "proxy.tunnel"},
    "iptc": {"harness.agent.appliers.iptc"},
    "jinja2": {"harness.compose.files", "harness.report"},
    "locust": {"harness.load.driver"},
    "pandas": {"harness.results.read", "harness.analysis", "harness.report"},
    "plotly": {"harness.report.figures"},
    "pydantic": {"harness.suite"},
    "pyroute2": {"harness.agent", "harness.engines"},
    "ruptures": {"harness.analysis.steps"},
    "scipy": {"harness.analysis"},
    "typer": {"harness.cli"},
    "uvloop": {"proxy.main", "proxy.serve"},
}

MEMBERS = (
    "harness.agent.__main__",
    "harness.backends.__main__",
    "harness.controlplane.__main__",
    "harness.dataplanes.envoy.keeper",
    "harness.dataplanes.envoy.launch",
    "harness.compose.wire",
    "harness.engines.idle",
    "harness.load.driver",
    "harness.load.probe",
    "proxy.main",
)
"""What starts in every testbed, several at once on two cores."""

HEAVY = {"docker", "duckdb", "jinja2", "numpy", "pandas", "plotly", "pydantic", "rich", "scipy", "typer"}
"""A tenth of a second to several seconds each."""


def test_harness_imports_along_the_arrows() -> None:
    strayed = [
        f"{module}:{each.line} imports {each.module}"
        for module, found in imports().items()
        if module.startswith("harness.")
        for each in found
        if each.module.startswith("harness.")
        if _package(each.module) not in ARROWS[_package(module)] | {_package(module)}
    ]

    assert strayed == []


def test_every_package_has_its_arrows() -> None:
    packages = {_package(module) for module in imports() if module.startswith("harness.")}

    assert packages <= set(ARROWS), "say in ARROWS what the new package may import"


def test_arrows_of_values_and_members_make_no_circle() -> None:
    """Only suite and plan name each other's words."""
    open_arrows = {package: set(targets) for package, targets in ARROWS.items()}
    open_arrows["suite"] -= {"plan", "dataplanes"}
    while leaves := {package for package, targets in open_arrows.items() if not targets}:
        open_arrows = {p: targets - leaves for p, targets in open_arrows.items() if p not in leaves}

    assert open_arrows == {}


def test_proxy_runs_alone() -> None:
    strayed = [
        f"{module}:{each.line}"
        for module, found in imports().items()
        if module.split(".")[0] == "proxy"
        for each in found
        if each.module.split(".")[0] == "harness"
    ]

    assert strayed == []


def test_harness_sees_little_of_the_proxy() -> None:
    strayed = [
        f"{module}:{each.line} imports {each.module}"
        for module, found in imports().items()
        if module.split(".")[0] == "harness"
        for each in found
        if each.module.split(".")[0] == "proxy"
        if not any(_within(each.module, seen) for seen in PROXY_SEEN_BY_HARNESS)
    ]

    assert strayed == []


@pytest.mark.parametrize("package", ONLY)
def test_package_stays_in_its_place(package: str) -> None:
    strayed = [
        f"{module}:{each.line}"
        for module, found in imports().items()
        for each in found
        if each.module.split(".")[0] == package
        if not any(_within(module, place) for place in ONLY[package])
    ]

    assert strayed == []


@pytest.mark.parametrize("member", MEMBERS)
def test_member_starts_light(member: str) -> None:
    assert member in imports()
    assert started_by(member) & HEAVY == set()


def test_an_agent_answers_before_what_its_workers_need_is_loaded() -> None:
    """pyroute2 takes as long as all the rest; it is for the processes that enter namespaces."""
    assert started_by("harness.agent.__main__") & {"iptc", "pyroute2"} == set()


@pytest.mark.parametrize(
    "module",
    sorted(
        {name for name in imports() if name.startswith("proxy.") and name.count(".") == 1}
        - {"proxy.__main__"}
    ),
)
def test_any_part_of_the_proxy_can_be_imported_first(module: str) -> None:
    """Imports that go in circles work or fail by who comes first."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""


def test_idle_process_needs_the_standard_library_alone() -> None:
    others = {name.split(".")[0] for name in started_by("harness.engines.idle")} - sys.stdlib_module_names

    assert others == {"harness"}


def _package(module: str) -> str:
    return module.split(".")[1]


def _within(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


def test_no_test_imports_locust_here() -> None:
    """It would put gevent in place of the sockets, threads and event loops of every other test."""
    assert "locust" not in sys.modules
