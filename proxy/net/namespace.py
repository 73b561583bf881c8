"""Network namespaces by descriptor, and entering one for the length of a block.

A socket belongs for ever to the namespace in which it was made, so the proxy enters a pod's
namespace for the moment of making one. `setns` moves the calling thread alone; there and back takes
about 15 us, where a helper thread and its way back to the event loop take some hundred. Hence
`inside` moves the calling thread, and nothing that could wait may happen in between.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final, Self

log = logging.getLogger("proxy.net")

CLONE_NEWNET: Final = 0x40000000
"""linux/sched.h"""
NS_GET_NSTYPE: Final = 0xB703
"""linux/nsfs.h: _IO(0xb7, 3); answers with the CLONE_ constant of the namespace's type."""


class NamespaceError(OSError):
    """A descriptor is no network namespace, or it cannot be entered."""


class Netns:
    """An open network namespace. Owns its descriptor; `close` is idempotent."""

    __slots__ = ("_fd", "inode")

    def __init__(self, fd: int) -> None:
        """Take over `fd`, which is closed when it turns out to be something else.

        Raises:
            NamespaceError: `fd` is not a network namespace.
        """
        import fcntl  # noqa: PLC0415  absent where there are no namespaces, on Windows

        try:
            kind = fcntl.ioctl(fd, NS_GET_NSTYPE)
        except OSError as exc:
            os.close(fd)
            raise NamespaceError(exc.errno, f"descriptor is no namespace: {exc.strerror}") from exc
        if kind != CLONE_NEWNET:
            os.close(fd)
            raise NamespaceError(
                errno.EINVAL, f"descriptor is a namespace of type {kind:#x}, no network namespace"
            )
        self._fd: int | None = fd
        status = os.fstat(fd)
        self.inode = (status.st_dev, status.st_ino)
        """What tells two namespaces apart, whichever descriptor or path leads to them."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the namespace at `path`, such as /proc/PID/ns/net or /run/netns/NAME."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def own(cls) -> Self:
        """The namespace of the calling thread."""
        return cls.open("/proc/thread-self/ns/net")

    @property
    def fd(self) -> int:
        """The descriptor (NamespaceError once closed)."""
        if self._fd is None:
            raise NamespaceError(errno.EBADF, "namespace is closed")
        return self._fd

    def close(self) -> None:
        """Let go of the namespace; it lives on while anything else holds it."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Here:
    """The process's own network, in a `Netns`'s place: nothing to enter, no rules, no rights."""

    __slots__ = ()

    fd: None = None
    inode = (0, 0)

    def close(self) -> None:
        """Nothing is held."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    if hasattr(os, "setns"):  # Python 3.12
        os.setns(fd, CLONE_NEWNET)
    elif _libc().setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _home_fd() -> int:
    """The process's own namespace, opened once: threads start in it and `inside` returns to it."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(netns_fd: int) -> Iterator[None]:
    """Run the block with the calling thread in the namespace. The block must not await.

    Raises:
        NamespaceError: The namespace cannot be entered (no CAP_SYS_ADMIN, or a closed descriptor).
    """
    home = _home_fd()
    try:
        _setns(netns_fd)
    except OSError as exc:
        raise NamespaceError(exc.errno, f"enter network namespace: {exc.strerror} (CAP_SYS_ADMIN?)") from exc
    try:
        yield
    finally:
        try:
            _setns(home)
        except OSError:
            # Going on in a pod's namespace would serve admin and other pods' traffic from there.
            log.critical("cannot return to the proxy's own network namespace, ending")
            os._exit(70)
