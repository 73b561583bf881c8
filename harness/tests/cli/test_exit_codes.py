"""Exit codes from a command line; 6 is in test_reading, 130 in test_interrupts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from harness.cli import app
from harness.errors import ExitCode
from harness.plan.model import Configuration
from harness.shipped import ROOT
from harness.suite import load_suite
from harness.tests import synthetic

MATRIX = (
    "matrix=[{path=['cross-node'], dataplane=['none']}, "
    "{path=['cross-node'], dataplane=['pyztunnel'], interception=['redirect'], reuse=['on']}]"
)


def _slower(times: float, configuration: Configuration) -> dict[str, float]:
    return {metric: value * times for metric, value in synthetic.truth(configuration).items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of which the later is slower, and one that misses its suite's threshold."""
    root = tmp_path_factory.mktemp("results")
    options = [MATRIX, "rounds=6", "load.first_packet.probes=20"]
    suite = load_suite("smoke", options, dataplanes=("none", "pyztunnel"))
    for number, effect in ((1, 1.0), (2, 1.4)):
        synthetic.record(
            root,
            suite,
            run=f"run-{number}",
            seed=number,
            truth=partial(_slower, effect),
            noise=0.002,
            weather=0.01,
        )
    gate = ["thresholds.gates=['first_packet.warm.p50 < 0.001ms']"]
    strict = load_suite("smoke", [*options, *gate], dataplanes=("none", "pyztunnel"))
    synthetic.record(root, strict, run="strict", seed=3, noise=0.002)
    return root


def _code(*arguments: str, **settings: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        cwd="/",
        timeout=120,
    ).returncode


def test_ok() -> None:
    assert _code("validate", "smoke") == ExitCode.OK


def test_the_run_failed() -> None:
    """A calibration of committed runs that the rule does not pass."""
    recorded = ("--results", str(ROOT / "results"))

    assert _code("selftest", "--power", "--rounds", "6", *recorded) == ExitCode.RUN_FAILED


def test_usage() -> None:
    assert _code("validate", "nowhere") == ExitCode.USAGE


def test_unfit() -> None:
    assert _code("up", "--engine", "docker", DOCKER_HOST="unix:///no/such/socket") == ExitCode.UNFIT


def test_threshold(results: Path) -> None:
    assert _code("report", "strict", "--results", str(results)) == ExitCode.THRESHOLD


def test_regression(results: Path) -> None:
    arguments = ("compare", "run-1", "run-2", "--results", str(results))

    assert _code(*arguments, "--gate") == ExitCode.REGRESSION
    assert _code(*arguments) == ExitCode.OK


def test_help_lists_them() -> None:
    listed = {int(code) for code in re.findall(r"\b(\d+) [a-z]", str(app.info.epilog))}

    assert listed == {0, 1, 2, 3, 4, 5, 6, 130}
