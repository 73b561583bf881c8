"""`compare` and `baseline`: refusals, formats, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import obey
from harness.errors import ExitCode
from harness.plan.model import Configuration
from harness.results import layout
from harness.suite import load_suite
from harness.tests import synthetic

DATAPLANES = ("none", "pyztunnel")
MATRIX = (
    "matrix=[{path=['cross-node'], dataplane=['none']}, {path=['same-node', 'cross-node'], "
    "dataplane=['pyztunnel'], interception=['redirect'], reuse=['on']}]"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two alike runs, one of them with a slower tunnel, and one of another kernel."""
    root = tmp_path_factory.mktemp("results")
    suite = load_suite("smoke", [MATRIX, "rounds=6", "load.first_packet.probes=20"], dataplanes=DATAPLANES)
    for number, effect in ((1, 1.0), (2, 1.4)):

        def truth(configuration: Configuration, effect: float = effect) -> dict[str, float]:
            found = synthetic.truth(configuration)
            return {
                m: v * (effect if configuration.tunnelled and m == "first.warm" else 1)
                for m, v in found.items()
            }

        synthetic.record(
            root, suite, run=f"run-{number}", seed=number, truth=truth, noise=0.002, weather=0.01
        )
    other = synthetic.record(root, suite, run="other", seed=3)
    environment = json.loads((other / layout.ENVIRONMENT).read_text())
    environment["host"]["kernel"] = "5.15"
    (other / layout.ENVIRONMENT).write_text(json.dumps(environment))
    return root


def test_a_regression_is_a_verdict_and_under_a_gate_an_exit_code(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    arguments = ["compare", "run-1", "run-2", "--results", str(results)]

    assert obey([*arguments, "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)[0]
    worse = {each["metric"] for each in found["metrics"] if each["verdict"] == "worse"}
    assert worse == {"first.warm"}

    junit = tmp_path / "junit.xml"
    assert obey([*arguments, "--gate", "--annotate", "--junit", str(junit)]) == ExitCode.REGRESSION
    captured = capsys.readouterr()
    assert "▲ worse" in captured.out
    assert "::error title=" in captured.err
    assert "<failure" in junit.read_text()


@pytest.mark.parametrize(("form", "start"), [("markdown", "## "), ("html", "<!doctype html>"), ("json", "[")])
def test_every_format_is_written(
    capsys: pytest.CaptureFixture[str], results: Path, form: str, start: str
) -> None:
    assert (
        obey(["compare", "run-1", "run-2", "run-1", "--format", form, "--results", str(results)])
        == ExitCode.OK
    )
    out = capsys.readouterr().out
    assert out.startswith(start)
    assert "cross-node.pyztunnel.redirect.reuse-on" in out.replace("\\", "")


def test_unlike_runs_are_refused_with_what_differs_and_marked_when_forced(
    capsys: pytest.CaptureFixture[str], results: Path
) -> None:
    arguments = ["compare", "run-1", "other", "--results", str(results)]

    assert obey(arguments) == ExitCode.USAGE
    assert "kernel: " in capsys.readouterr().err
    assert obey([*arguments, "--force"]) == ExitCode.OK
    assert "FORCED" in capsys.readouterr().out


def test_one_run_alone_is_compared_with_nothing(results: Path) -> None:
    assert obey(["compare", "run-1", "--results", str(results)]) == ExitCode.USAGE


def test_a_kept_run_is_the_reference_of_later_ones(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    at = ["--results", str(results)]
    assert obey(["compare", "run-2", "--baseline", *at]) == ExitCode.USAGE
    assert "baseline save" in capsys.readouterr().err

    assert obey(["baseline", "promote", "run-1", *at]) == ExitCode.OK
    assert obey(["baseline", "save", "run-2", *at]) == ExitCode.OK
    capsys.readouterr()
    assert obey(["baseline", "show", *at, "--json"]) == ExitCode.OK
    assert [(each["run"], each["reference"]) for each in json.loads(capsys.readouterr().out)] == [
        ("run-1", True),
        ("run-2", False),
    ]
    assert obey(["compare", "run-2", "--baseline", "--gate", *at]) == ExitCode.REGRESSION
    assert "run-2 against run-1" in capsys.readouterr().out


def test_a_foreign_file_among_the_baselines_is_named_and_the_rest_shown(
    capsys: pytest.CaptureFixture[str], results: Path
) -> None:
    """B25."""
    assert obey(["baseline", "save", "run-1", "--results", str(results)]) == ExitCode.OK
    (shelf,) = (results / "baselines").glob("*/*")
    foreign = shelf / "old.json"
    foreign.write_text('{"run": "old", "measures": []}')
    try:
        for verb in (["baseline", "show"], ["trend"]):
            capsys.readouterr()
            assert obey([*verb, "--results", str(results)]) == ExitCode.OK
            captured = capsys.readouterr()
            assert str(foreign) in captured.err
            assert shelf.name in captured.out
    finally:
        foreign.unlink()
