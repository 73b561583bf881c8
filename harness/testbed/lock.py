"""One measuring run per machine: two would measure each other.

The lock is flock(2) on a file in a folder that every user shares, so it holds across network namespaces, and
the kernel takes it back when its holder ends, however that ends. The holder leaves its own words in the file.
Containers that share neither /run/lock nor /tmp with the machine cannot see each other.

filelock would do, but it opens with O_CREAT and O_TRUNC: the kernel refuses that on another user's file in a
sticky folder (fs.protected_regular), and it would wipe the holder's words.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import EnvironmentUnfit

NAME = "ambientbench-measuring"
FOLDERS = (Path("/run/lock"), Path("/tmp"))  # noqa: S108  # shared on purpose
"""The first that is everybody's to write in: /run/lock is so on Debian and Ubuntu, not on Fedora and Arch."""
HOLDER_BYTES = 500
"""What is shown of the holder's words."""


class Busy(EnvironmentUnfit):
    """Another process holds the lock; the message names it."""


class MeasuringLock:
    """Held from `__enter__` to `__exit__`, or to the end of the process."""

    def __init__(self, name: str = NAME) -> None:
        self._path = _folder() / f"{name}.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            Busy: Another process has it.
            EnvironmentUnfit: The file cannot be opened.
        """
        while self._descriptor is None:
            descriptor = self._opened()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                words = _printable(os.pread(descriptor, HOLDER_BYTES, 0))
                os.close(descriptor)
                raise Busy(
                    f"another run is measuring on this machine: {words or 'it does not say which'}; "
                    "wait for it to end, or stop it"
                ) from None
            if _same(descriptor, self._path):
                self._descriptor = descriptor
            else:  # somebody cleaned up the folder meanwhile
                os.close(descriptor)
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, _own_words().encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            try:
                return os.open(self._path, flags)
            except FileNotFoundError:
                return _made(self._path, flags)
        except OSError as exc:
            raise EnvironmentUnfit(
                f"open the lock of measuring runs, {self._path}: {exc.strerror}; remove it if nobody uses it"
            ) from exc


def _folder() -> Path:
    everybody = [path for path in FOLDERS if path.is_dir() and path.stat().st_mode & stat.S_IWOTH]
    return (everybody or FOLDERS)[0]


def _made(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another one was faster
        return os.open(path, flags)
    os.fchmod(descriptor, 0o666)  # whatever the umask: the next run may be another user's
    return descriptor


def _same(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one at its path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _own_words() -> str:
    return f"pid {os.getpid()}, uid {os.getuid()}, `{shlex.join(sys.orig_argv)}`"


def _printable(words: bytes) -> str:
    """Anybody may write there: nothing that moves a terminal's cursor is shown."""
    return "".join(letter for letter in words.decode(errors="replace") if letter.isprintable())
