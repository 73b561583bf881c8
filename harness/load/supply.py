"""Sockets out of a pod's namespace, fetched from its node's agent before they are needed.

Making a socket and handing it over costs some 20 us, entering the namespace more: none of it may lie in
what is measured. So `stock` is called between turns, `take` within them.

The protocol is that of `harness.agent.sockets`.
"""

from __future__ import annotations

import json
import resource
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from harness.control import Refused

BATCH = 250
"""Descriptors asked for in one packet; the agent gives no more."""
ANSWER_BYTES = 4096
TIMEOUT_S = 10.0
_FAMILIES = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}


class Supply:
    """Unconnected TCP sockets of one pod and family."""

    def __init__(self, path: Path, namespace: str, family: socket.AddressFamily) -> None:
        """Connect to the agent's sockets socket.

        Raises:
            Refused: Nobody listens at `path`.
        """
        self.family = family
        self.taken = 0
        self.late = 0
        """Sockets that were fetched when they were needed, and not before."""
        self._path, self._namespace = path, namespace
        self._descriptors: deque[int] = deque()
        self._asking = Lock()  # gevent's own where it has patched the standard library
        self._agent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._agent.settimeout(TIMEOUT_S)
        try:
            self._agent.connect(str(path))
        except OSError as exc:
            self._agent.close()
            raise self._refused(exc.strerror or str(exc)) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stock(self, count: int) -> None:
        """Fetch until at least `count` sockets are here.

        Raises:
            Refused: The agent refused, or does not answer; the message has its words.
        """
        while (lacking := count - len(self._descriptors)) > 0:
            self._fetch(min(lacking, BATCH))

    def take(self) -> int:
        """A socket's descriptor, from now on the caller's; fetched now where none is left.

        Raises:
            Refused: As of `stock`.
        """
        while not self._descriptors:
            with self._asking:
                if not self._descriptors:
                    self._fetch(BATCH)
                    self.late += 1
        self.taken += 1
        return self._descriptors.popleft()

    def close(self) -> None:
        """Close the connection and the sockets that nobody took."""
        self._agent.close()
        while self._descriptors:
            socket.close(self._descriptors.popleft())

    def _fetch(self, count: int) -> None:
        request = {"namespace": self._namespace, "family": _FAMILIES[self.family], "count": count}
        try:
            self._agent.send(json.dumps(request).encode())
            answer, descriptors, _, _ = socket.recv_fds(self._agent, ANSWER_BYTES, BATCH)
        except OSError as exc:
            raise self._refused(exc.strerror or str(exc)) from exc
        self._descriptors.extend(descriptors)
        if not answer:
            raise self._refused("the agent closed the connection")
        told: Mapping[str, Any] = json.loads(answer)
        if "error" in told:
            raise self._refused(str(told["error"]))
        if told["count"] != len(descriptors):
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            raise self._refused(
                f"{len(descriptors)} of {told['count']} descriptors arrived; this process may hold {limit}"
            )

    def _refused(self, reason: str) -> Refused:
        return Refused(f"sockets of {self._namespace} from {self._path}: {reason}", kind="sockets")


def raise_descriptor_limit() -> None:
    """Let this process hold as many descriptors as it ever may: a fleet has thousands of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
