"""One measuring run per machine."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines.images import REPOSITORY
from harness.errors import EnvironmentUnfit, ExitCode
from harness.testbed import lock as lock_module
from harness.testbed.lock import Busy, MeasuringLock
from harness.tests.ordinary import AS_NOBODY

LOCK = "harness/testbed/lock.py"
HOLDER = """
import sys
from harness.testbed.lock import MeasuringLock
with MeasuringLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def name() -> Iterator[str]:
    """A lock that only this test uses."""
    name = f"ambientbench-test-{secrets.token_hex(4)}"
    yield name
    MeasuringLock(name)._path.unlink(missing_ok=True)


def test_it_can_be_taken_again_when_it_was_given_back(name: str) -> None:
    with MeasuringLock(name):
        pass
    with MeasuringLock(name):
        pass


def test_a_second_one_is_refused_naming_the_first(name: str) -> None:
    """F68."""
    with (
        MeasuringLock(name),
        pytest.raises(Busy, match=rf"pid {os.getpid()}, uid {os.getuid()}, `.*pytest") as refused,
    ):
        MeasuringLock(name).__enter__()

    assert refused.value.exit_code is ExitCode.UNFIT


@pytest.mark.netns
def test_it_holds_across_network_namespaces(name: str) -> None:
    """Two jobs of one machine may each have a namespace of their own."""
    command = ["unshare", "--net", sys.executable, "-c", HOLDER, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Busy, match=rf"pid {holder.pid}, uid {os.getuid()}, `.*python.* -c .*{name}`"):
            MeasuringLock(name).__enter__()
        holder.communicate()

    with MeasuringLock(name):
        pass


@pytest.fixture
def copied() -> Iterator[Path]:
    """The lock's code where every user can read it."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("harness/__init__.py", "harness/errors.py", "harness/testbed/__init__.py", LOCK):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, Path(folder) / name)
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield Path(folder)


@pytest.mark.netns
def test_it_holds_between_users_and_is_taken_over_by_either(name: str, copied: Path) -> None:
    """Where fs.protected_regular is set, the kernel lets nobody open others' files with O_CREAT."""
    program = ["/usr/bin/python3", "-c", HOLDER, name]
    users = {0: program, 65534: [*AS_NOBODY, *program]}
    for mine, other in ((65534, 0), (0, 65534)):
        with subprocess.Popen(
            users[mine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=copied
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            command = users[other]
            refused = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd=copied, input=""
            )
            holder.communicate()
        assert f"another run is measuring on this machine: pid {holder.pid}, uid {mine}, " in refused.stderr


def test_a_file_that_was_cleaned_up_meanwhile_is_made_anew(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = MeasuringLock(name)
    lock_file = fcntl.flock

    def cleaned_up(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock_file)
        lock._path.unlink()
        lock_file(descriptor, operation)

    with MeasuringLock(name):
        pass
    monkeypatch.setattr(fcntl, "flock", cleaned_up)
    with lock, pytest.raises(Busy):
        MeasuringLock(name).__enter__()


def test_words_that_would_move_the_cursor_are_not_shown(name: str) -> None:
    with MeasuringLock(name) as held:
        held._path.write_bytes(b"pid 1\x1b[2J\n\xff")
        with pytest.raises(Busy) as refused:
            MeasuringLock(name).__enter__()

    assert "another run is measuring on this machine: pid 1[2J\ufffd; wait" in str(refused.value)


def test_a_link_in_the_files_place_is_not_followed(name: str, tmp_path: Path) -> None:
    lock = MeasuringLock(name)
    lock._path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(EnvironmentUnfit, match=f"open the lock of measuring runs, {lock._path}"):
        lock.__enter__()
    lock._path.unlink()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("modes", "expected"), [((0o1777, 0o1777), 0), ((0o755, 0o1777), 1), ((None, 0o1777), 1)]
)
def test_the_folder_is_the_first_that_is_everybodys(
    modes: tuple[int | None, int], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """/run/lock on Debian and Ubuntu, /tmp on Fedora and Arch: for all users the same."""
    folders = (tmp_path / "0", tmp_path / "1")
    for folder, mode in zip(folders, modes, strict=True):
        if mode is not None:
            folder.mkdir()
            folder.chmod(mode)
    monkeypatch.setattr(lock_module, "FOLDERS", folders)

    assert folders[expected] == MeasuringLock("x")._path.parent


def test_it_dies_with_its_holder(name: str) -> None:
    """F69."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Busy, match=rf"pid {holder.pid}"):
            MeasuringLock(name).__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.communicate()

        with MeasuringLock(name):
            pass
