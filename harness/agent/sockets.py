"""Sockets for the load: made in a pod's network namespace, handed over by SCM_RIGHTS.

A socket belongs to the namespace in which `socket()` was called, whoever uses it later. So one load process
without capabilities connects out of any pod, and what it connects is the pod's own.

A request is one packet, `{"namespace": N, "family": "ipv4" | "ipv6", "count": n}`. The answer is one packet:
`{"count": n}` with n descriptors of unconnected TCP sockets, or `{"error": words}`.

Source: socket(7), unix(7); net/core/sock.c sk_alloc takes the namespace of the calling thread.
"""

from __future__ import annotations

import array
import json
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

log = logging.getLogger("harness.agent.sockets")

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
BATCH = 250
"""Most descriptors of one packet; the kernel's own limit is 253 (SCM_MAX_FD, include/net/scm.h)."""
REQUEST_BYTES = 4096

Make = Callable[[str, socket.AddressFamily, int], list[socket.socket]]
"""Makes so many sockets in the namespace of that name; its errors are a sentence for who asked."""


class NoSockets(Exception):
    """The sockets asked for cannot be made; the message is the answer's error."""


class SocketServer:
    """Answers at a unix socket (SOCK_SEQPACKET), each connection on a thread of its own."""

    def __init__(self, path: Path, make: Make) -> None:
        """Listen at `path`.

        Raises:
            OSError: The socket cannot be made there.
        """
        self._path = path
        self._make = make
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(8)
        self._thread = Thread(target=self._accept, name="sockets", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the agent ends
                return
            Thread(target=self._converse, args=(connection,), name="sockets", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection:
                while packet := connection.recv(REQUEST_BYTES):
                    self._answer(connection, packet)
        except OSError as exc:
            log.warning("connection lost error=%s", exc)

    def _answer(self, connection: socket.socket, packet: bytes) -> None:
        with ExitStack() as made:
            try:
                sockets = self._sockets(packet)
            except NoSockets as exc:
                connection.send(json.dumps({"error": str(exc)}).encode())
                return
            for each in sockets:
                made.enter_context(each)
            descriptors = array.array("i", [each.fileno() for each in sockets])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
            connection.sendmsg([json.dumps({"count": len(sockets)}).encode()], ancillary)

    def _sockets(self, packet: bytes) -> list[socket.socket]:
        try:
            request: dict[str, Any] = json.loads(packet)
            namespace, family = str(request["namespace"]), FAMILIES[request["family"]]
            count = int(request["count"])
        except (ValueError, KeyError, TypeError) as exc:
            known = "namespace, family (ipv4 or ipv6), count"
            raise NoSockets(f"request {packet[:200]!r} for sockets: {exc!r}; expected: {known}") from exc
        if not 1 <= count <= BATCH:
            raise NoSockets(f"{count} sockets of {namespace} in one packet: expected 1 to {BATCH}")
        try:
            return self._make(namespace, family, count)
        except OSError as exc:
            raise NoSockets(f"make {count} sockets in {namespace}: {exc.strerror or exc}") from exc


def tcp_sockets(family: socket.AddressFamily, count: int) -> list[socket.socket]:
    """Unconnected TCP sockets of the calling thread's namespace; all or, on an error, none."""
    with ExitStack() as undo:
        made = [undo.enter_context(socket.socket(family, socket.SOCK_STREAM)) for _ in range(count)]
        undo.pop_all()
    return made
