"""The asking side of the control channel."""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class ControlError(Exception):
    """The other side refused or failed; the message is its own, with the socket's path."""

    def __init__(self, message: str, *, kind: str = "failed") -> None:
        super().__init__(message)
        self.kind = kind


class Unreachable(ControlError):
    """Nobody answers at the socket, or the answer broke off."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="unreachable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: its document and what raw bytes came with it."""

    document: dict[str, Any]
    payload: bytes = b""


class Channel:
    """One connection to a member's control socket; opened at once, closed by `with`."""

    def __init__(self, path: Path, *, connect_timeout_s: float = 0.0) -> None:
        """Connect, trying again until `connect_timeout_s` has passed.

        Raises:
            Unreachable: Nobody listens at `path`.
        """
        self.path = path
        deadline = time.monotonic() + connect_timeout_s
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._socket.connect(str(path))
            except OSError as exc:
                self._socket.close()
                if time.monotonic() >= deadline:
                    raise Unreachable(f"connect to {path}: {exc.strerror}") from exc
                time.sleep(0.01)
            else:
                break
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def peer_pid(self) -> int:
        """The listener's pid as this process sees it; 0 when it is in a pid namespace that cannot be seen."""
        pid, _uid, _gid = struct.unpack(
            "3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        )
        return int(pid)

    def call(self, op: str, /, *, timeout_s: float | None = 30.0, **arguments: object) -> Reply:
        """Ask once and wait for the answer.

        Raises:
            ControlError: The other side answered with an error.
            Unreachable: The connection broke, or no answer came within `timeout_s`.
        """
        self.send(op, **arguments)
        return self.receive(timeout_s=timeout_s)

    def send(self, op: str, /, **arguments: object) -> None:
        """Ask without waiting; each `send` wants one `receive`."""
        try:
            self._socket.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
        except OSError as exc:
            raise Unreachable(f"send {op} to {self.path}: {exc.strerror}") from exc

    def receive(self, *, timeout_s: float | None = 30.0) -> Reply:
        """Wait for the answer to the oldest unanswered `send`."""
        self._socket.settimeout(timeout_s)
        try:
            line = self._reader.readline()
            if not line.endswith(b"\n"):
                raise Unreachable(f"{self.path}: closed before it answered")
            answer = json.loads(line)
            payload = self._reader.read(answer.get("bytes", 0))
        except TimeoutError as exc:
            raise Unreachable(f"{self.path}: no answer within {timeout_s} s") from exc
        except OSError as exc:
            raise Unreachable(f"{self.path}: {exc.strerror}") from exc
        if "error" in answer:
            raise ControlError(f"{self.path}: {answer['error']['message']}", kind=answer["error"]["kind"])
        if len(payload) != answer.get("bytes", 0):
            raise Unreachable(f"{self.path}: closed in the middle of an answer")
        return Reply(document=answer["ok"], payload=payload)
