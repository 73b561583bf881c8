"""The command line: how it ends, and what people and programs see."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import typer

from harness import cli
from harness.engines.images import REPOSITORY
from harness.errors import EnvironmentUnfit, ExitCode, Leftovers, RunFailed, UsageError


def _run(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=environment
    )


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A verb `status` that does what the test says."""
    module = ModuleType("harness.cli.status")
    module.EXAMPLE = "status"  # type: ignore[attr-defined]  # a verb's second name
    monkeypatch.setitem(sys.modules, "harness.cli.status", module)
    return module


def test_every_verb_is_a_file_with_a_command_and_a_help_text() -> None:
    for verb in cli.verbs():
        done = _run(verb, "--help")
        assert done.returncode == 0, verb
        assert f"ambientbench {verb}" in done.stdout
        assert len(done.stdout.splitlines()) > 4


def test_no_arguments_show_the_usage_on_standard_error() -> None:
    done = _run()

    assert done.returncode == ExitCode.USAGE
    assert "Usage: ambientbench" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stauts"], "did you mean 'status'"),
        (["xyzzy"], "known: baseline, compare"),
        (["status", "--jsn"], "--json"),
        (["--nope"], "--nope"),
        (["exec"], "POD"),
        (["down", "--all", "abcdef"], "contradict"),
        (["up", "--interception", "magic"], "magic"),
        (["up", "--engine", "podman"], "known: docker, netns"),
        (["up", "--dataplane", "envoi"], "none, pyztunnel"),
        (["up", "--dataplane", "none", "--interception", "redirect"], "--dataplane none"),
        (["up", "no-such-suite"], "no-such-suite"),
        (["down", "zzzzzz"], "no run 'zzzzzz'"),
        (["up", "\udce4.toml"], "toml"),
    ],
)
def test_a_senseless_command_line_is_answered_with_what_makes_sense(arguments: list[str], said: str) -> None:
    done = _run(*[os.fsdecode(os.fsencode(argument)) for argument in arguments])

    assert done.returncode == ExitCode.USAGE, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_with_json_an_error_is_a_document_too() -> None:
    done = _run("down", "--all", "abcdef", "--json")

    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == ("usage-error", 2)
    assert error["message"] in done.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (EnvironmentUnfit("x"), 3),
        (RunFailed("x"), 1),
        (Leftovers("x"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("a bug"), 1),
        (BrokenPipeError(), 141),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_an_error_decides_the_exit_code_and_shows_no_traceback(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    def command() -> None:
        """Fail."""
        raise error

    verb.command = command  # type: ignore[attr-defined]  # a verb's one function

    assert cli.obey(["status"]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out


def test_a_verbs_number_is_the_exit_code(verb: ModuleType) -> None:
    def command() -> int:
        """End with a number."""
        return 7

    verb.command = command  # type: ignore[attr-defined]  # a verb's one function

    assert cli.obey(["status"]) == 7


def test_a_bug_shows_its_traceback_when_asked(
    verb: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        """Fail."""
        raise ValueError("a bug")

    verb.command = command  # type: ignore[attr-defined]  # a verb's one function
    monkeypatch.setenv(cli.DEBUG_ENV, "1")

    cli.obey(["status"])

    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = _run("doctor", "--json", stdout=writing)
    finally:
        os.close(writing)

    assert done.returncode == ExitCode.BROKEN_PIPE
    assert done.stderr == ""


def test_doctor_tells_programs_the_same_as_people() -> None:
    document = json.loads(_run("doctor", "--json").stdout)
    people = _run("doctor")

    assert {check["name"] for check in document["checks"]} == {
        line[: people.stdout.index("status")].strip()
        for line in people.stdout.split("\n\n")[0].splitlines()[1:]
    }
    assert people.returncode == (0 if document["fit"] else ExitCode.UNFIT)


def test_an_engine_that_is_not_there_is_an_unfit_environment() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DOCKER_HOST": "unix:///no/such/socket"}
    command = [sys.executable, "-m", "harness", "up", "--engine", "docker"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == ExitCode.UNFIT
    assert "no Docker engine answers" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-15"])
def test_a_character_that_the_output_lacks_costs_that_character_alone(encoding: str) -> None:
    """B26: the answer and its exit code stay."""
    verb = """
import sys, harness.cli.status, harness.cli
from harness.cli._output import say
def command() -> int:
    "Answer."
    say("µs – ▲ worse")
    return 5
harness.cli.status.command = command
sys.argv = ["ambientbench", "status"]
harness.cli.main()
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", verb], capture_output=True, check=False, env=environment)

    assert done.returncode == 5, done.stderr
    assert (
        done.stdout.decode(encoding) == {"ascii": "?s ? ? worse\n", "iso-8859-15": "µs ? ? worse\n"}[encoding]
    )


@pytest.mark.parametrize("name", cli.verbs())
def test_help_shows_an_example_that_the_verb_takes(name: str) -> None:
    group: Any = typer.main.get_command(cli.app)
    verb = group.get_command(None, name)
    shown = " ".join(verb.get_help(verb.context_class(verb, info_name=name)).split())
    example = shown.partition(f"Example: {cli.PROGRAM} {name}")[2]

    assert f"Example: {cli.PROGRAM} {name}" in shown
    verb.make_context(name, shlex.split(example))  # raises where an option or a value is unknown
