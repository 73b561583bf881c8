"""README's own examples: the suite that it shows, and the command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import cli
from harness.errors import ExitCode
from harness.shipped import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SUITE, *PARTS = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^ {4}\S*ambientbench (.*?)(?:\s{2,}#.*|\s+#.*)?$", README, re.MULTILINE)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_suite_is_valid_wherever_it_is_saved(empty: Path) -> None:
    """B09: `extends` finds the shipped suites as the command line does."""
    (empty / "my.toml").write_text(SUITE)

    assert cli.obey(["validate", "my.toml"]) == ExitCode.OK
    assert cli.obey(["plan", "my.toml", "-s", "rounds=20"]) == ExitCode.OK


@pytest.mark.parametrize("part", PARTS)
def test_every_other_piece_of_a_suite_is_valid_beside_the_first(empty: Path, part: str) -> None:
    (empty / "my.toml").write_text(SUITE + part)

    assert cli.obey(["validate", "my.toml"]) == ExitCode.OK


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_one_that_its_verb_takes(line: str) -> None:
    name, *arguments = shlex.split(re.sub(r"\[.*?\]", "", line))
    group: Any = typer.main.get_command(cli.app)

    group.get_command(None, name).make_context(name, arguments)


def test_there_are_examples() -> None:
    assert len(COMMANDS) > 10
    assert len(PARTS) >= 1


def test_a_suite_extends_what_is_beside_it_then_here_then_what_is_shipped(empty: Path) -> None:
    (empty / "suites").mkdir()
    (empty / "elsewhere").mkdir()
    (empty / "elsewhere" / "mine.toml").write_text('extends = "base"\n')
    assert cli.obey(["validate", "elsewhere/mine.toml"]) == ExitCode.USAGE

    (empty / "suites" / "base.toml").write_text('extends = "smoke"\nrounds = 7\n')
    assert cli.obey(["validate", "elsewhere/mine.toml"]) == ExitCode.OK


def test_a_suite_may_extend_the_shipped_one_of_its_name(
    empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty / "suites").mkdir()
    (empty / "suites" / "quick.toml").write_text('extends = "quick"\nrounds = 9\n')

    assert cli.obey(["validate", "quick"]) == ExitCode.OK
    assert "x 9 rounds" in capsys.readouterr().out


def test_a_byte_order_mark_is_passed_over(empty: Path) -> None:
    (empty / "my.toml").write_text("\ufeff" + SUITE, encoding="utf-8")

    assert cli.obey(["validate", "my.toml"]) == ExitCode.OK
