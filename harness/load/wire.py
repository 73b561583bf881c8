"""One HTTP exchange with the backend: the request's bytes, and whether the answer is the right one.

An answer counts only when the nonce is the request's own, pod and node are the expected ones, the
source is the address that the client has, and every byte of padding arrived. An answer's shape is
learned from a connection's first one; later ones that look the same are told by three comparisons
(about 0.4 us), any other is read in full.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

NONCE_PREFIX = 16
NONCE_BYTES = NONCE_PREFIX + 8
"""Hex digits: which process and stage, then a count. A fixed width keeps answers of one length."""
HEAD_MAX_BYTES = 4096
"""nginx's head has about 150 bytes."""


class BadAnswer(Exception):
    """Not an answer of the backend's form; `kind` is the word under which it is counted."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who should answer, and where."""

    address: str
    port: int
    pod: str
    node: str
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Pod -> node of all who may answer, where the address is a service's; else `pod` alone may."""


@dataclass(slots=True, kw_only=True)
class Verification:
    """What the answers said, counted."""

    checked: int = 0
    wrong_nonce: int = 0
    wrong_pod: int = 0
    wrong_node: int = 0
    wrong_source: int = 0
    wrong_bytes: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """`pod/node/source` -> answers."""
    errors: Counter[str] = field(default_factory=Counter)
    """Kind (an errno's name or our own word) -> requests or connections that ended so."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what goes wrong on a connection under its kind, and go on after the block."""
        try:
            yield
        except OSError as exc:
            self.errors[error_kind(exc)] += 1
        except BadAnswer as exc:
            self.errors[exc.kind] += 1

    def document(self) -> dict[str, Any]:
        """As it leaves the process: keys `verification`, `answers`, `errors`."""
        counts = {name: getattr(self, name) for name in ("checked", *MISMATCHES)}
        return {"verification": counts, "answers": dict(self.answers), "errors": dict(self.errors)}


MISMATCHES = ("wrong_nonce", "wrong_pod", "wrong_node", "wrong_source", "wrong_bytes")


def host(address: str) -> str:
    """An address as it stands before a port: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def family(address: str) -> socket.AddressFamily:
    """The family of an address given as text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def nonces() -> bytes:
    """A prefix for nonces that no other process or stage has."""
    return os.urandom(NONCE_PREFIX // 2).hex().encode()


def error_kind(error: OSError) -> str:
    """The word for an operating system error: `ECONNRESET`.

    `timeout` is our own patience's end: a blocking socket with the kernel's time-outs says EAGAIN, and
    EINPROGRESS in connect. `ETIMEDOUT` is TCP's.
    """
    if error.errno in {errno.EAGAIN, errno.EINPROGRESS}:
        return "timeout"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


class Exchange:
    """Requests and answers of one connection, without the connection: bytes in, bytes out.

    The caller receives into `buffer`, notes the first byte's time, calls `complete` unless `total`
    bytes came, notes the end's time, then calls `judge`: no time includes our own checking.
    """

    def __init__(self, target: Target, source: str, response_bytes: int, verification: Verification) -> None:
        self._verification = verification
        self._source = source = host(source)
        self._endpoints = target.endpoints or {target.pod: target.node}
        self.pod = target.pod
        """Who answered last, as known; of a service, learned from a connection's first answer."""
        self._padding = b"x" * response_bytes
        self.head = f"GET /{response_bytes}?n=".encode()
        self.tail = f" HTTP/1.1\r\nHost: {host(target.address)}:{target.port}\r\n\r\n".encode()
        self._expect(target.pod, target.node)
        self.buffer = bytearray(HEAD_MAX_BYTES + NONCE_BYTES + 512 + response_bytes)
        self._view = memoryview(self.buffer)
        self.total: int | None = None
        """Length of an answer on this connection; None until the first right one was judged."""
        self.seen_port = 0
        """The port that the backend said it was called from, once an answer was read in full."""
        self._right = 0
        self._fixed = b""
        self._fixed_at = 0

    def _expect(self, pod: str, node: str) -> None:
        """From now on, answers of that pod are told by their shape."""
        self.pod = pod
        self._suffix = f" pod={pod} node={node} source={self._source}:".encode()
        self._answer = f"{pod}/{node}/{self._source}"

    def request(self, nonce: bytes) -> bytes:
        """The bytes of one request."""
        return self.head + nonce + self.tail

    def complete(self, read: Callable[[memoryview], int], size: int) -> int:
        """Read the rest of an answer of which `size` bytes are in the buffer; returns its length.

        Raises:
            BadAnswer: It is not of the backend's form, or the connection ended within it.
        """
        while lacking := self._lacking(size):
            wanted = size + lacking
            while size < wanted:
                if not (more := read(self._view[size:])):
                    raise BadAnswer("closed")
                size += more
        return size

    def judge(self, size: int, nonce: bytes) -> bool:
        """Whether the answer in the buffer is the right one; what is wrong with it is counted.

        Raises:
            BadAnswer: Its status or form are not the backend's.
        """
        buffer = self.buffer
        if (
            size == self.total
            and buffer.startswith(b"HTTP/1.1 200 ")
            and buffer.startswith(self._fixed + nonce + self._suffix, self._fixed_at)
            and buffer.endswith(self._padding, 0, size)
        ):
            self._right += 1
            return True
        return self._settle(size, nonce)

    def end(self) -> None:
        """Count the answers that were told by their shape; once, when the connection has ended."""
        if self._right:
            self._verification.checked += self._right
            self._verification.answers[self._answer] += self._right
            self._right = 0

    def _lacking(self, size: int) -> int:
        """How many bytes the answer still lacks, at least; 0 when it is complete."""
        if size == 0:
            raise BadAnswer("closed")
        length = self._length(size)
        if length is None:
            return 1
        if size > length or length > len(self.buffer):
            raise BadAnswer("bad-length")
        return length - size

    def _settle(self, size: int, nonce: bytes) -> bool:
        """Judge a complete answer in full, count what is wrong with it, learn its shape if it is right."""
        answer = bytes(self.buffer[:size])
        head, ended, body = answer.partition(b"\r\n\r\n")
        if not ended:
            raise BadAnswer("bad-head")
        status = answer[9:12].decode("ascii", "replace")
        if status != "200":
            raise BadAnswer(f"status-{status}")
        line, newline, padding = body.partition(b"\n")
        words = dict(word.partition(b"=")[::2] for word in line.split(b" "))
        if not newline or set(words) != {b"nonce", b"pod", b"node", b"source"}:
            raise BadAnswer("bad-answer")
        pod, node = words[b"pod"].decode(), words[b"node"].decode()
        source, _, port = words[b"source"].decode().rpartition(":")
        self.seen_port = int(port) if port.isdigit() else 0
        counted = self._verification
        wrong = {
            "wrong_nonce": words[b"nonce"] != nonce,
            "wrong_pod": pod not in self._endpoints,
            "wrong_node": node not in self._endpoints.values() or self._endpoints.get(pod, node) != node,
            "wrong_source": source != self._source,
            "wrong_bytes": padding != self._padding,
        }
        counted.checked += 1
        counted.answers[f"{pod}/{node}/{source}"] += 1
        for name in MISMATCHES:
            setattr(counted, name, getattr(counted, name) + wrong[name])
        if any(wrong.values()):
            return False
        self.end()
        self._expect(pod, node)
        # From the length's header on, all is fixed but the nonce; the date comes before it.
        self._fixed_at = head.lower().index(b"content-length")
        self._fixed = head[self._fixed_at :] + ended + b"nonce="
        self.total = size
        return True

    def _length(self, size: int) -> int | None:
        """Length of the answer that the buffer begins with; None while its head is not complete."""
        end = self.buffer.find(b"\r\n\r\n", 0, size)
        if end < 0:
            if size >= HEAD_MAX_BYTES or not b"HTTP/1.1 ".startswith(self.buffer[: min(size, 9)]):
                raise BadAnswer("bad-head")
            return None
        for header in bytes(self.buffer[:end]).split(b"\r\n")[1:]:
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length" and value.strip().isdigit():
                return end + 4 + int(value)
        raise BadAnswer("bad-head")
