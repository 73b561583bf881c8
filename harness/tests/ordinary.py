"""The harness as an ordinary user runs it, from tests that run as root.

Root's clone and its virtual environment may be in folders that nobody else can read, so what a
testbed needs of them is copied to a place that everyone can; the interpreter is one of this
environment's version that the other user can run: the environment's own, else the system's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.engines.images import REPOSITORY

UID = 65534
"""nobody, on every distribution."""
AS_NOBODY = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all")
NOT_NEEDED = (
    "scipy*",
    "pandas*",
    "plotly*",
    "duckdb*",
    "numpy*",
    "mypy*",
    "ruff*",
    "_duckdb*",
    "__pycache__",
    "tests",
)
"""Of the installed packages: large, and not part of a testbed."""


VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
CANDIDATES = (
    str(Path(sys.base_prefix, "bin", f"python{VERSION}").resolve()),
    f"/usr/bin/python{VERSION}",
    f"/usr/local/bin/python{VERSION}",
)


@dataclass(frozen=True, slots=True)
class Ordinary:
    """A copy of the harness, and whoever may run it."""

    place: Path

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`python ARGUMENTS` as that user, in the copy's virtual environment."""
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{self.place}/clone",
            "HOME": f"{self.place}/home",
            "XDG_RUNTIME_DIR": f"{self.place}/home",
            **settings,
        }
        return subprocess.run(
            [*AS_NOBODY, f"{self.place}/venv/bin/python", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=self.place / "home",
        )


@contextmanager
def ordinary_user() -> Iterator[Ordinary]:
    """Make the copy; skips the test where there is no need for one, or no way (fails it then in CI)."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    python = _python_for_anyone()
    if python is None:
        missing = f"no Python {VERSION} that an ordinary user can run; looked at {', '.join(CANDIDATES)}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"has to work where CI=true: {missing}", pytrace=False)
        pytest.skip(missing)
    place = Path(tempfile.mkdtemp(prefix="ab"))
    try:
        for name in ("harness", "proxy", "suites", "images"):
            _copy(REPOSITORY / name, place / "clone" / name, "__pycache__")
        subprocess.run([python, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
        site = place / "venv" / "lib" / f"python{VERSION}" / "site-packages"
        _copy(Path(sysconfig.get_path("purelib")), site, *NOT_NEEDED)
        (place / "home").mkdir()
        subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
        os.chown(place / "home", UID, UID)
        yield Ordinary(place)
    finally:
        shutil.rmtree(place)


def _python_for_anyone() -> str | None:
    asked = "import sys; print(*sys.version_info[:2], sep='.')"
    for python in CANDIDATES:
        done = subprocess.run(
            [*AS_NOBODY, python, "-c", asked], capture_output=True, text=True, check=False, cwd="/"
        )
        if done.stdout.strip() == VERSION:
            return python
    return None


def _copy(source: Path, target: Path, *ignored: str) -> None:
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns(*ignored), symlinks=True, dirs_exist_ok=True
    )
