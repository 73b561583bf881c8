"""Files and folders that appear whole or not at all.

A temporary beside the target, fsync, rename, fsync of the folder: after a crash at any point the
reader finds the old one or the new one (Pillai et al., OSDI 2014, on what file systems promise).
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import RunFailed

TEMPORARY = ".tmp-"
"""How everything unfinished begins; readers never look at it, the next writer removes it."""


class Unwritable(RunFailed):
    """A result could not be saved; the message names the file, the reason and the room that is left."""


def write_file(path: Path, data: bytes) -> None:
    """Replace a file's content.

    Raises:
        Unwritable: The old content, if any, is still there.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with _explained(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Fill a temporary folder in the block; it takes its name when the block ends well.

    Raises:
        Unwritable: Nothing of that name has appeared.
        FileExistsError: It is there already: results are not overwritten.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with _explained(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for folder, _, names in os.walk(temporary, topdown=False):
                for name in names:
                    _sync(Path(folder, name))
                sync_folder(Path(folder))
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what a crash left half-written in a folder."""
    for path in folder.glob(f"{TEMPORARY}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
"""What fsync of a folder says where there is no such thing: CIFS, VirtualBox's and WSL's shares."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where its file system can: a rename has happened either way."""
    try:
        _sync(folder)
    except OSError as exc:
        if exc.errno not in NO_FOLDER_SYNC:
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if isinstance(exc, FileExistsError):
            raise
        raise Unwritable(f"save {path}: {exc.strerror or exc}; {_room(path)}") from exc


def _room(path: Path) -> str:
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free
    return f"{free / 1e6:.0f} MB are free in {existing}"
