"""Ids as values: which there are, which are excluded, and how they are written in prose."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

HERE = Path(__file__).parent

_ID = re.compile(r"\b(?:[TFBP]\d{2,3}b?|(?:generic|http2|hpack)/\d+(?:\.\d+)*)\b", re.IGNORECASE)
_RANGE = re.compile(r"\b([TFBP])(\d{2,3}) to \1(\d{2,3})\b")


def catalogue() -> dict[str, dict[str, str]]:
    """Titles by id, by section."""
    return tomllib.loads((HERE / "catalogue.toml").read_text(encoding="utf-8"))


def exclusions() -> dict[str, str]:
    """Reasons by id."""
    return tomllib.loads((HERE / "exclusions.toml").read_text(encoding="utf-8"))


def mentioned(prose: str) -> set[str]:
    """Ids in prose or in a name: `T03`, `test_t03_is_closed`, `F01 to F03`, `http2/5.1`."""
    prose = prose.replace("_", " ")
    ids = {_spelled(match[0]) for match in _ID.finditer(prose)}
    for kind, first, last in _RANGE.findall(prose):
        ids |= {f"{kind}{number:02d}" for number in range(int(first), int(last) + 1)}
    return ids


def _spelled(raw: str) -> str:
    if "/" in raw:
        return raw.lower()
    return raw[0].upper() + raw[1:].lower()
