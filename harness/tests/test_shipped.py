"""Installed, not cloned: the wheel and the source archive hold all that the program reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness import shipped
from harness.engines import images

BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
RUN_TIMEOUT_S = 300


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the source archive of this checkout, built offline, by their kind."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    _copy_tree(tree)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run(
        tree, *pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(dist), "."
    )
    _run(tree, sys.executable, "-c", BUILD_SDIST, str(dist))
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def _copy_tree(tree: Path) -> None:
    """Copy the checkout as git would, links as links: what is built into it must not be built from."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("harness", "proxy", "suites", "images"):
        shutil.copytree(shipped.ROOT / name, tree / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(shipped.ROOT / name, tree / name)


def _run(folder: Path, *command: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session", params=["wheel", "sdist"])
def installed(
    request: pytest.FixtureRequest, built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The `bin` of an environment with the program, and by a path its dependencies of this one."""
    place = tmp_path_factory.mktemp(request.param)
    _run(place, sys.executable, "-m", "venv", "--without-pip", str(place / "venv"))
    python = str(place / "venv" / "bin" / "python")
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(_run(place, python, "-c", purelib).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check"]
    archive = str(built[request.param])
    _run(place, *pip, "install", "--no-deps", "--no-index", "--no-build-isolation", archive)
    return Path(python).parent


def test_no_test_is_shipped(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert [name for name in wheel.namelist() if "/tests/" in name] == []


def test_source_archive_needs_no_folder_of_the_top(built: dict[str, Path]) -> None:
    """Its links are files: suites/ and images/ are not in it twice."""
    with tarfile.open(built["sdist"]) as sdist:
        members = sdist.getmembers()

    assert [member.name for member in members if member.issym() or member.islnk()] == []
    assert any(member.name.endswith("harness/shipped/suites/quick.toml") for member in members)


def test_every_shipped_suite_is_valid_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    for name in sorted(path.stem for path in shipped.SUITES.glob("*.toml")):
        _run(tmp_path, str(installed / "ambientbench"), "validate", name)


def test_images_are_the_same_as_a_checkouts(installed: Path, tmp_path: Path) -> None:
    """A tag is a hash of all that goes in."""
    tell = "import json; from harness.engines import images; print(json.dumps(images.tags()))"

    assert json.loads(_run(tmp_path, str(installed / "python"), "-c", tell)) == images.tags()


def test_the_commit_of_a_repository_around_it_is_not_its_own(installed: Path, tmp_path: Path) -> None:
    """As with a virtual environment in the folder of another project."""
    around = installed.parent.parent
    tell = (
        "import json; from harness.results.environment import collect; print(json.dumps(collect()['source']))"
    )
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    _run(around, *git, "init", "--quiet")
    _run(around, *git, "commit", "--quiet", "--allow-empty", "--message", "another project's")

    source = json.loads(_run(tmp_path, str(installed / "python"), "-c", tell))

    assert (source["commit"], source["dirty"]) == (None, None)
    assert source["version"]


@pytest.mark.netns
def test_a_run_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = _run(tmp_path, str(installed / "python"), "-c", "import harness; print(harness.__file__)")
    assert where.startswith(str(installed.parent))

    answer = _run(tmp_path, str(installed / "ambientbench"), "run", "smoke", "--engine", "netns", "--json")

    assert json.loads(answer)["cells"]
    (run,) = (tmp_path / "results").iterdir()
    assert (run / "report.html").stat().st_size > 1_000_000
