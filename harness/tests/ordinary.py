"""The harness as an ordinary user runs it, from tests that run as root.

Root's clone and its virtual environment may be in folders that nobody else can read, so what a
testbed needs of them is copied to a place that everyone can; the interpreter is the system's.
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

PYTHON = "/usr/bin/python3"
UID = 65534
"""nobody, on every distribution."""
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


@dataclass(frozen=True, slots=True)
class Ordinary:
    """A copy of the harness, and whoever may run it."""

    place: Path

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`python ARGUMENTS` as that user, in the copy's virtual environment."""
        command = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all"]
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{self.place}/clone",
            "HOME": f"{self.place}/home",
            "XDG_RUNTIME_DIR": f"{self.place}/home",
            **settings,
        }
        return subprocess.run(
            [*command, f"{self.place}/venv/bin/python", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=self.place / "home",
        )


@contextmanager
def ordinary_user() -> Iterator[Ordinary]:
    """Make the copy; skips the test where there is no need for one, or no way."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user already")
    asked = "import sys; print(*sys.version_info[:2])"
    found = subprocess.run([PYTHON, "-c", asked], capture_output=True, text=True, check=False).stdout.split()
    if found != [str(part) for part in sys.version_info[:2]]:
        pytest.skip(
            f"{PYTHON}, which any user can run, is {'.'.join(found)}: not the version of this environment"
        )
    place = Path(tempfile.mkdtemp(prefix="ab"))
    try:
        for name in ("harness", "proxy", "suites", "images"):
            _copy(REPOSITORY / name, place / "clone" / name, "__pycache__")
        subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
        site = place / "venv" / "lib" / f"python{'.'.join(found)}" / "site-packages"
        _copy(Path(sysconfig.get_path("purelib")), site, *NOT_NEEDED)
        (place / "home").mkdir()
        subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
        os.chown(place / "home", UID, UID)
        yield Ordinary(place)
    finally:
        shutil.rmtree(place)


def _copy(source: Path, target: Path, *ignored: str) -> None:
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns(*ignored), symlinks=True, dirs_exist_ok=True
    )
