"""Entering network namespaces, and the lock that iptables programs take there."""

from __future__ import annotations

import ctypes
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

CLONE_NEWNET = 0x40000000
"""linux/sched.h. Python knows `os.setns` from 3.12 on."""

LOCK_PATH = "/proc/self/ns/net"
"""Where the iptables lock of the process's own namespace is: on the namespace, as with Istio, so that
pods do not wait for each other or for the host."""

_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class LockHeld(Exception):
    """Another program holds the iptables lock of a namespace for too long."""


def enter(path: str) -> None:
    """Move this thread into the network namespace at `path`, for good.

    Raises:
        OSError: No such namespace, or no right to enter it (CAP_SYS_ADMIN over it is needed).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"setns: {os.strerror(error)}", path)
    finally:
        os.close(descriptor)


def fresh() -> None:
    """Move this thread into a new, empty network namespace that nobody else sees."""
    if _libc.unshare(CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare(CLONE_NEWNET): {os.strerror(error)}")


def inside(path: str, function: Callable[[], T]) -> T:
    """What `function` returns or raises when called on a thread of its own inside the namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter(path)
            results.append(function())
        except BaseException as exc:  # noqa: BLE001 - carried over to the caller, nothing is swallowed
            errors.append(exc)

    thread = threading.Thread(target=run, name=f"inside {path}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def iptables_lock(*, wait_s: float) -> Iterator[None]:
    """Hold the lock that iptables programs take here when `XTABLES_LOCKFILE` is `LOCK_PATH`.

    Raises:
        LockHeld: Somebody else held it for `wait_s`.
    """
    descriptor = os.open(LOCK_PATH, os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() >= deadline:
                    raise LockHeld(
                        "the iptables lock of this namespace is held by another program for more than "
                        f"{wait_s:.0f} s: find it with `lslocks`, end it, and try again"
                    ) from exc
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
