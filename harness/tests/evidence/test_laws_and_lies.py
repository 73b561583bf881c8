"""The table of laws and lies in the README: whole, and about files that exist."""

from __future__ import annotations

import re
from pathlib import Path

from harness.evidence import checks

ROOT = Path(__file__).parents[3]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "harness/README.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| [CM]\d", line)
]


def test_every_id_has_one_row() -> None:
    expected = [f"C{number}" for number in range(1, 10)] + [f"M{number:02d}" for number in range(1, 38)]

    assert expected == [row[0] for row in ROWS]


def test_every_row_names_files_that_exist() -> None:
    for identifier, _, answer, where in ROWS:
        paths = re.findall(r"`([^`]+)`", where)
        assert paths, identifier
        assert [] == [path for path in paths if not (ROOT / path).is_file()], identifier
        assert answer.startswith(("checked", "by construction", "excluded")), identifier


def test_what_is_called_checked_names_a_check_or_what_else_judges_a_cell() -> None:
    judges = {f"harness/evidence/checks/{name.replace('-', '_')}.py" for name in checks.known()}
    judges |= {"harness/evidence/limits.py", "harness/evidence/noise.py", "proxy/tests/soak/load.py"}

    for identifier, _, answer, where in ROWS:
        if answer.startswith("checked"):
            paths = set(re.findall(r"`([^`]+)`", where))
            assert paths & judges or "harness/selftest/sabotages/" in where, identifier
