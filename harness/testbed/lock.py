"""One measuring run per host: two would measure each other.

The lock is an abstract unix socket: the kernel lets one process listen at a name, whatever its user,
and takes it back when that process ends, however it ends. Whoever finds it taken learns from the
kernel who holds it.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import EnvironmentUnfit

NAME = "ambientbench-measuring"


class Busy(EnvironmentUnfit):
    """Another process holds the lock; the message names it."""


class MeasuringLock:
    """Held from `__enter__` to `__exit__`, or to the end of the process."""

    def __init__(self, name: str = NAME) -> None:
        self._address = b"\0" + name.encode()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Raises Busy when another process has it."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(self._address)
        except OSError as exc:
            listener.close()
            raise Busy(f"{self._holder()}; wait for it to end, or stop it") from exc
        listener.listen(16)
        self._socket = listener
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _holder(self) -> str:
        """Who holds it, in words; the process may have ended meanwhile."""
        size = struct.calcsize("3i")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(1)
            try:
                asking.connect(self._address)
            except OSError:
                return "another run is measuring on this host"
            pid, uid, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            command = []
        shown = " ".join(part for part in command if part)
        return f"another run is measuring on this host: pid {pid}, uid {uid}, `{shown or '?'}`"
