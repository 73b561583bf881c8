"""The ZDS server: hands pods' network namespaces to the node's proxy, as istio-cni does to ztunnel.

The proxy connects, says hello, and is sent every enrolled pod, then the end of the snapshot, then each
change as it comes. One request is under way at a time; its answer is awaited before the next. A proxy
that answers late or wrongly is disconnected: it comes again and gets a new snapshot.

One thread owns all connections. The newest one serves; an older one belongs to a proxy that drains
and is told of withdrawals only.

Source: istio/ztunnel proto/zds.proto and src/inpod; istio/istio cni/pkg/nodeagent/ztunnelserver.go.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from google.protobuf.message import DecodeError

from proxy.proto import zds_pb2

log = logging.getLogger("harness.agent.zds")

ANSWER_TIMEOUT_S = 5.0
"""Longest wait for hello or for an answer; the proxy opens three listeners meanwhile."""

_PACKET_MAX = 64 * 1024
"""More than any answer; one packet is one message."""


class ZdsError(Exception):
    """A pod could not be handed over.

    Nack: the proxy refused it. NoAnswer: there was no proxy, or it did not answer.
    """


class Nack(ZdsError):
    """The proxy answered with an error, which is the message."""


class NoAnswer(ZdsError):
    """No proxy answered in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A pod as the proxy learns of it. `path` is its network namespace."""

    uid: str
    name: str
    namespace: str
    service_account: str
    path: str


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    what: str
    message: zds_pb2.WorkloadRequest
    pod: Enrolled | None = None
    """The pod to add, whose namespace travels along; None for everything else."""
    done: Future[None] = field(default_factory=Future)


@dataclass(slots=True, kw_only=True, eq=False)
class _Peer:
    socket: socket.socket
    deadline: float
    greeted: bool = False
    waiting: deque[_Request] = field(default_factory=deque)
    under_way: _Request | None = None


class ZdsServer:
    """Serves one socket. `enrol`, `withdraw` and `status` may be called from any thread."""

    def __init__(self, path: Path, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Listen at `path`, which is made anew."""
        self._path = path
        self._answer_timeout_s = answer_timeout_s
        self._enrolled: dict[str, Enrolled] = {}
        self._unsent: dict[str, _Request] = {}
        """Adds that wait for a proxy to come."""
        self._peers: list[_Peer] = []
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._running = True
        self._acks = 0
        self._nacks = 0
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(8)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="zds")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def enrol(self, pod: Enrolled, *, timeout_s: float = 10.0) -> None:
        """Hand a pod to the proxy and wait until it serves it; a proxy may come while this waits.

        Raises:
            Nack: The proxy refused; the pod is not enrolled.
            NoAnswer: No proxy answered within `timeout_s`; the pod is not enrolled.
        """
        request = _add(pod)
        self._call(lambda: self._start_add(pod, request))
        try:
            request.done.result(timeout_s)
        except TimeoutError as exc:
            self._call(lambda: self._forget(pod.uid))
            raise NoAnswer(
                f"{request.what}: no proxy answered at {self._path} within {timeout_s} s; does it run, "
                "and is INPOD_UDS that socket?"
            ) from exc
        except Nack:
            self._call(lambda: self._forget(pod.uid))
            raise

    def withdraw(self, uid: str, *, timeout_s: float = 10.0) -> None:
        """Take a pod from the proxy and wait until it has stopped serving it.

        Raises:
            Nack: The proxy refused.
            NoAnswer: It did not answer within `timeout_s`.
        """
        message = zds_pb2.WorkloadRequest()
        getattr(message, "del").uid = uid  # a word of Python's
        request = _Request(what=f"withdraw {uid}", message=message)
        self._call(lambda: self._start_withdrawal(uid, request))
        try:
            request.done.result(timeout_s)
        except TimeoutError as exc:
            raise NoAnswer(f"{request.what}: no answer at {self._path} within {timeout_s} s") from exc

    def release(self) -> None:
        """Forget every enrolled pod without a word to the proxy, which has ended."""
        done: Future[None] = Future()
        self._call(lambda: self._forget_all(done))
        done.result(self._answer_timeout_s)

    def status(self) -> dict[str, object]:
        """Who is connected, what was answered, which pods are enrolled."""
        result: Future[dict[str, object]] = Future()
        self._call(
            lambda: result.set_result(
                {
                    "connected": self._current() is not None,
                    "hello": "V1" if self._current() else "",
                    "connections": len(self._peers),
                    "acks": self._acks,
                    "nacks": self._nacks,
                    "enrolled": sorted(self._enrolled),
                }
            )
        )
        return result.result(self._answer_timeout_s)

    def close(self) -> None:
        """Stop serving: connections are closed, the socket is removed, the thread has ended."""
        self._call(self._stop)
        self._thread.join()
        self._wake.close()

    # what follows runs on the server's thread alone

    def _call(self, function: Callable[[], None]) -> None:
        self._calls.put(function)
        self._wake.send(b"x")

    def _serve(self) -> None:
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
            self._selector.register(self._woken, selectors.EVENT_READ, self._make_calls)
            while self._running:
                for key, _ in self._selector.select(self._until_deadline()):
                    key.data()
                for peer in [peer for peer in self._peers if peer.deadline <= time.monotonic()]:
                    waits_for = peer.under_way.what if peer.under_way else "hello"
                    self._drop(peer, f"no answer to {waits_for} within {self._answer_timeout_s} s")
        for peer in list(self._peers):
            peer.socket.close()
        self._listener.close()
        self._woken.close()
        self._path.unlink(missing_ok=True)

    def _until_deadline(self) -> float | None:
        deadline = min((peer.deadline for peer in self._peers), default=math.inf)
        return None if deadline == math.inf else max(deadline - time.monotonic(), 0)

    def _stop(self) -> None:
        self._running = False

    def _make_calls(self) -> None:
        self._woken.recv(4096)
        while not self._calls.empty():
            self._calls.get()()

    def _current(self) -> _Peer | None:
        return next((peer for peer in reversed(self._peers) if peer.greeted), None)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        peer = _Peer(socket=connection, deadline=time.monotonic() + self._answer_timeout_s)
        self._peers.append(peer)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._receive(peer))

    def _receive(self, peer: _Peer) -> None:
        try:
            packet = peer.socket.recv(_PACKET_MAX)
            if not packet:
                self._drop(peer, "closed by the proxy")
            elif peer.greeted:
                self._answered(peer, zds_pb2.WorkloadResponse.FromString(packet))
            else:
                self._greeted(peer, zds_pb2.ZdsHello.FromString(packet))
        except (OSError, DecodeError) as exc:
            self._drop(peer, str(exc))

    def _greeted(self, peer: _Peer, hello: zds_pb2.ZdsHello) -> None:
        if hello.version != zds_pb2.V1:
            self._drop(peer, f"hello with version {hello.version}, we speak V1 (1)")
            return
        peer.greeted = True
        peer.deadline = math.inf
        log.info("proxy connected pods=%d", len(self._enrolled))
        for uid, pod in self._enrolled.items():
            peer.waiting.append(self._unsent.pop(uid) if uid in self._unsent else _add(pod))
        snapshot = zds_pb2.WorkloadRequest(snapshot_sent=zds_pb2.SnapshotSent())
        peer.waiting.append(_Request(what="snapshot", message=snapshot))
        self._next(peer)

    def _answered(self, peer: _Peer, response: zds_pb2.WorkloadResponse) -> None:
        request, peer.under_way = peer.under_way, None
        if request is None or response.WhichOneof("payload") != "ack":
            peer.under_way = request
            self._drop(peer, "an answer that nobody asked for" if request is None else "no ack in its answer")
            return
        peer.deadline = math.inf
        if response.ack.error:
            self._nacks += 1
            log.warning("proxy refused request=%s error=%s", request.what, response.ack.error)
            request.done.set_exception(Nack(f"{request.what}: the proxy refused: {response.ack.error}"))
        else:
            self._acks += 1
            request.done.set_result(None)
        self._next(peer)

    def _next(self, peer: _Peer) -> None:
        if peer.under_way or not peer.waiting:
            return
        request = peer.waiting.popleft()
        try:
            descriptors = [os.open(request.pod.path, os.O_RDONLY | os.O_CLOEXEC)] if request.pod else []
        except OSError as exc:
            request.done.set_exception(
                NoAnswer(f"{request.what}: its namespace {exc.filename}: {exc.strerror}; has it ended?")
            )
            self._next(peer)
            return
        peer.under_way = request
        peer.deadline = time.monotonic() + self._answer_timeout_s
        try:
            socket.send_fds(peer.socket, [request.message.SerializeToString()], descriptors)
        except OSError as exc:
            self._drop(peer, str(exc))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _drop(self, peer: _Peer, why: str) -> None:
        log.warning("proxy disconnected reason=%s", why)
        self._selector.unregister(peer.socket)
        peer.socket.close()
        self._peers.remove(peer)
        for request in ([peer.under_way] if peer.under_way else []) + list(peer.waiting):
            if request.pod:
                # the next proxy to come is sent it with its snapshot, unless nobody waits any more
                if request.pod.uid in self._enrolled:
                    self._unsent[request.pod.uid] = request
            else:
                # a proxy that is gone serves nothing
                request.done.set_result(None)

    def _start_add(self, pod: Enrolled, request: _Request) -> None:
        self._enrolled[pod.uid] = pod
        if peer := self._current():
            peer.waiting.append(request)
            self._next(peer)
        else:
            self._unsent[pod.uid] = request

    def _start_withdrawal(self, uid: str, request: _Request) -> None:
        self._forget(uid)
        current = self._current()
        for peer in [peer for peer in self._peers if peer.greeted]:
            mine = request if peer is current else _Request(what=request.what, message=request.message)
            peer.waiting.append(mine)
            self._next(peer)
        if current is None:
            request.done.set_result(None)

    def _forget_all(self, done: Future[None]) -> None:
        self._enrolled.clear()
        self._unsent.clear()
        done.set_result(None)

    def _forget(self, uid: str) -> None:
        self._enrolled.pop(uid, None)
        self._unsent.pop(uid, None)


def _add(pod: Enrolled) -> _Request:
    info = zds_pb2.WorkloadInfo(name=pod.name, namespace=pod.namespace, service_account=pod.service_account)
    message = zds_pb2.WorkloadRequest(add=zds_pb2.AddWorkload(uid=pod.uid, workload_info=info))
    return _Request(what=f"enrol {pod.namespace}/{pod.name}", message=message, pod=pod)
