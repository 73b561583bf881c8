"""Wheels of one module, for tests that install without an index."""

from __future__ import annotations

import zipfile
from pathlib import Path

UNSUITABLE = "require-virtualenv = true\n[install]\nuser = true\n"
"""A pip.conf's words, after [global], under which a plain `pip install` goes wrong in an environment."""


def write_wheel(folder: Path, name: str, module: str, text: str = "") -> Path:
    """Write version 1 of a distribution that holds one module."""
    folder.mkdir(parents=True, exist_ok=True)
    escaped = name.replace("-", "_")
    info = f"{escaped}-1.dist-info"
    path = folder / f"{escaped}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(module, text)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{module},,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path
