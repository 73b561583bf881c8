"""Owners: a pid is one process's only together with its start time, boot and pid namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.engines.owner import Life, Owner, start_time


def test_this_process_is_alive() -> None:
    assert Owner.current().life is Life.ALIVE


def test_an_owner_survives_being_written() -> None:
    owner = Owner.current()

    assert Owner.parse(str(owner)) == owner


@pytest.mark.parametrize("text", ["", "1:2:3", "a:b:c:d:e", "1:2:3:4:5:6"])
def test_what_str_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Owner.parse(text)


@pytest.mark.parametrize(
    ("change", "life"),
    [
        ({"start": 1}, Life.DEAD),
        ({"pid": 2**22 + 1}, Life.DEAD),
        ({"boot": "00000000"}, Life.DEAD),
        ({"pid_namespace": "1"}, Life.UNKNOWN),
        ({"pid_namespace": "1", "boot": "00000000"}, Life.DEAD),
    ],
    ids=["another start", "no such pid", "another boot", "another pid namespace", "another boot's namespace"],
)
def test_an_owner_that_differs_in_one_field_is_not_this_process(change: dict[str, int], life: Life) -> None:
    assert replace(Owner.current(), **change).life is life  # type: ignore[arg-type]  # fields of Owner


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        start = start_time(process.pid)
        assert start is not None
        owner = replace(Owner.current(), pid=process.pid, start=start)
        assert str(owner.life) == "alive"
        process.stdin.close()
        # Ended but not waited for: WNOWAIT leaves it a zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        assert str(owner.life) == "dead"


def test_a_program_name_with_parentheses_and_spaces_does_not_confuse_the_start_time() -> None:
    rename = "import ctypes; ctypes.CDLL(None).prctl(15, b') S 1 (x', 0, 0, 0); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        before = start_time(process.pid)
        process.stdout.readline()

        assert before == start_time(process.pid)
        process.communicate(b"\n")
