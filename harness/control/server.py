"""The answering side of the control channel: blocking.

It uses plain sockets, so it works the same in a plain process and under gevent.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

from harness.control.channel import Reply

log = logging.getLogger("harness.control")

Handler = Callable[[dict[str, Any]], Reply]
"""Takes a request's arguments, returns the answer."""


class Refused(Exception):
    """A handler's way to answer with an error of its own kind."""

    def __init__(self, message: str, *, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


def serve(path: Path, handlers: Mapping[str, Handler], *, mode: int = 0o600, at_once: bool = False) -> None:
    """Answer requests at `path` for ever. An unknown op is answered with the sorted list of known ones.

    Connections come one after another, or each on a thread of its own with `at_once`.
    """
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(8)
        while True:
            connection, _ = listener.accept()
            if at_once:
                Thread(target=_converse, args=(connection, handlers), daemon=True).start()
            else:
                _converse(connection, handlers)


def _converse(connection: socket.socket, handlers: Mapping[str, Handler]) -> None:
    try:
        with connection, connection.makefile("rb") as reader:
            for line in reader:
                connection.sendall(_answer(line, handlers))
    except OSError as exc:
        log.warning("control connection lost error=%s", exc)


def _answer(line: bytes, handlers: Mapping[str, Handler]) -> bytes:
    try:
        request = json.loads(line)
        op = request.pop("op")
        handler = handlers.get(op)
        if handler is None:
            raise Refused(f"unknown op {op!r}; known: {', '.join(sorted(handlers))}", kind="unknown-op")
        reply = handler(request)
    except Refused as exc:
        return _error(exc.kind, str(exc))
    except Exception as exc:
        log.exception("request failed")
        return _error("failed", f"{type(exc).__name__}: {exc}")
    return json.dumps({"ok": reply.document, "bytes": len(reply.payload)}).encode() + b"\n" + reply.payload


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"error": {"kind": kind, "message": message}}).encode() + b"\n"
