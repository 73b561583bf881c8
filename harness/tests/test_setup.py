"""`make setup` on machines whose pip is configured for something else, and on machines without an index."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.engines import pip_settings
from harness.errors import ExitCode
from harness.shipped import ROOT
from harness.tests import wheels
from harness.tests.wheels import UNSUITABLE, write_wheel

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

BACKEND = """
from pathlib import Path
from wheels import write_wheel

def build_editable(folder, config_settings=None, metadata_directory=None):
    return write_wheel(Path(folder), "this-project", "this_project.py").name
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one dependency with this one's set-up, and a folder of wheels beside it."""
    project = tmp_path / "project"
    (project / ".ci").mkdir(parents=True)
    for name in ("setup", "python"):
        shutil.copy(ROOT / ".ci" / name, project / ".ci" / name)
    (project / ".ci" / "packages").write_text("#!/bin/sh\n")
    (project / ".ci" / "packages").chmod(0o755)
    (project / ".ci" / "requirements.lock").write_text("python-iptables==1\n")
    (project / "pyproject.toml").write_text(PYPROJECT)
    (project / "backend.py").write_text(BACKEND)
    shutil.copy(wheels.__file__, project / "wheels.py")
    (project / "harness" / "engines").mkdir(parents=True)
    shutil.copy(pip_settings.__file__, project / "harness" / "engines")
    write_wheel(tmp_path / "wheels", "python-iptables", "iptc.py")
    return project


def _set_up(project: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [".ci/setup"],
        cwd=project,
        env={**clean, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _site(project: Path) -> Path:
    (site,) = (project / ".venv" / "lib").glob("python*/site-packages")
    return site


def test_settings_in_the_environment(project: Path) -> None:
    """B28: user, target, prefix, root and require-virtualenv; offline from a folder of wheels."""
    elsewhere = project.parent / "elsewhere"
    done = _set_up(
        project,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(project.parent / "wheels"),
        PIP_USER="1",
        PIP_TARGET=str(elsewhere / "target"),
        PIP_PREFIX=str(elsewhere / "prefix"),
        PIP_ROOT=str(elsewhere / "root"),
        PIP_REQUIRE_VIRTUALENV="1",
    )

    assert done.returncode == 0, done.stderr
    assert {"iptc.py", "this_project.py"} <= {path.name for path in _site(project).iterdir()}
    assert not elsewhere.exists()


def test_settings_in_a_file(project: Path) -> None:
    """B28: what pip.conf says of index and network is taken, of the place it is not."""
    elsewhere = project.parent / "elsewhere"
    config = project.parent / "pip.conf"
    config.write_text(
        f"[global]\nno-index = true\nfind-links = {project.parent / 'wheels'}\n{UNSUITABLE}"
        f"target = {elsewhere}\n"
    )
    done = _set_up(project, PIP_CONFIG_FILE=str(config))

    assert done.returncode == 0, done.stderr
    assert {"iptc.py", "this_project.py"} <= {path.name for path in _site(project).iterdir()}
    assert not elsewhere.exists()


def test_without_an_index_the_way_offline_is_told(project: Path) -> None:
    done = _set_up(project, PIP_NO_INDEX="1")

    assert done.returncode == ExitCode.UNFIT
    assert "PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER make setup" in done.stderr
