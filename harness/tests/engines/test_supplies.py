"""What is fetched appears whole in the cache, or not at all; commands are what they should be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.engines import supplies
from harness.errors import EnvironmentUnfit
from harness.tests.wheels import UNSUITABLE, write_wheel

BOOKWORM, TRIXIE = (supplies.RELEASES[name] for name in ("bookworm", "trixie"))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands instead of their effects; one that contains `broken` fails."""
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[-2:] == ["config", "list"]:
            return subprocess.CompletedProcess(command, 0, "", "")
        ran.append(command)
        failed = any("broken" in part for part in command)
        return subprocess.CompletedProcess(command, int(failed), "", "E: it is broken")

    monkeypatch.setattr(subprocess, "run", run)
    return ran


@pytest.mark.parametrize(
    ("release", "python", "newest"),
    [(BOOKWORM, "3.11", "manylinux_2_36_"), (TRIXIE, "3.13", "manylinux_2_41_")],
    ids=["bookworm", "trixie"],
)
def test_wheels_are_those_of_the_releases_python_at_the_harness_own_versions(
    release: supplies.Release, python: str, newest: str, commands: list[list[str]]
) -> None:
    folder = supplies.site(release, ("h2==4.4.1",))

    (command,) = commands
    platforms = [part for part in command if part.startswith("--platform=")]
    assert platforms[0].startswith(f"--platform={newest}")
    assert platforms[-2].startswith("--platform=manylinux_2_17_")
    assert f"cp{python.replace('.', '')}" in command
    assert folder.is_dir()
    assert "--only-binary=:all:" in command
    assert command[command.index("--python-version") + 1] == python
    assert command[command.index("--constraint") + 1].endswith(".txt")
    assert command[-1] == "h2==4.4.1"


def test_what_is_there_is_not_fetched_again(commands: list[list[str]]) -> None:
    first = supplies.site(BOOKWORM, ("h2",))
    second = supplies.site(BOOKWORM, ("h2",))

    assert first == second
    assert len(commands) == 1


def test_other_requirements_have_another_folder(commands: list[list[str]]) -> None:
    folders = {supplies.site(BOOKWORM, each) for each in (("h2",), ("h2", "uvloop"))}
    folders.add(supplies.sources(("h2",)))

    assert len(folders) == len(commands) == 3


def test_a_failed_fetch_leaves_nothing_and_shows_the_command(
    commands: list[list[str]], tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentUnfit, match=r"E: it is broken.*run it by hand.*broken"):
        supplies.site(BOOKWORM, ("broken",))

    assert list((tmp_path / "ambientbench").iterdir()) == []
    assert len(commands) == 1


def test_a_root_is_made_with_one_hook_per_image_that_wants_packages(commands: list[list[str]]) -> None:
    supplies.bootstrap(BOOKWORM, {"base": ("python3",), "ztunnel": ()}, lambda _: None)

    (command,) = commands
    hooks = [part for part in command if part.startswith("--customize-hook")]
    assert len(hooks) == 1
    assert "install python3" in hooks[0]
    assert command[-2] == "bookworm"


def test_another_release_has_wheels_and_a_root_of_its_own(commands: list[list[str]]) -> None:
    assert supplies.site(BOOKWORM, ("h2",)) != supplies.site(TRIXIE, ("h2",))
    assert supplies.debian_folder(BOOKWORM, {}) != supplies.debian_folder(TRIXIE, {})
    supplies.bootstrap(TRIXIE, {"base": ("python3",)}, lambda _: None)
    assert commands[-1][-2] == "trixie"


def test_another_set_of_packages_is_another_root() -> None:
    folder = supplies.debian_folder(BOOKWORM, {"a": ("x",)})

    assert folder != supplies.debian_folder(BOOKWORM, {"a": ("y",)})
    assert folder == supplies.debian_folder(BOOKWORM, {"a": ("x",), "b": ()})


def test_pips_own_settings_decide_whence_but_not_where_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """B28, with a real pip and no index: wheels come from a folder."""
    write_wheel(tmp_path / "wheels", "some-package", "some_package.py")
    elsewhere = tmp_path / "elsewhere"
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {tmp_path / 'wheels'}\n{UNSUITABLE}")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_PREFIX", str(elsewhere))
    monkeypatch.setenv("PIP_USER", "1")

    folder = supplies.site(BOOKWORM, ("some-package",))

    assert (folder / "some_package.py").is_file()
    assert not elsewhere.exists()
