"""ZDS messages: one protobuf per packet, a pod's namespace beside it as a descriptor.

Whatever is wrong with a packet, its descriptors are closed.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from proxy.inpod.api import PodInfo
from proxy.net.namespace import Here, NamespaceError, Netns
from proxy.proto import zds_pb2

MAX_BYTES = 64 * 1024
"""Largest packet taken; real ones are a few hundred bytes."""
MAX_DESCRIPTORS = 16
"""Descriptors taken per packet: more than a message may carry, so that extra ones are seen and closed."""

HELLO = zds_pb2.ZdsHello(version=zds_pb2.V1).SerializeToString()
"""What the proxy says first: bytes 08 01."""


class MalformedMessage(ValueError):
    """A packet is no request; the message says why and goes back to the agent."""


@dataclass(frozen=True, slots=True)
class Add:
    """Serve a pod. Whoever takes the message owns the namespace."""

    pod: PodInfo
    netns: Netns | Here


@dataclass(frozen=True, slots=True)
class Keep:
    """A pod that was added on an earlier connection is still there."""

    uid: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Serve a pod no longer."""

    uid: str


@dataclass(frozen=True, slots=True)
class SnapshotSent:
    """All pods of the node have been named on this connection."""


Request = Add | Keep | Delete | SnapshotSent


def receive(sock: socket.socket) -> tuple[bytes, list[int], int]:
    """One packet with its descriptors (close-on-exec) and flags; an empty packet is the end."""
    item = array.array("i").itemsize
    data, ancillary, flags, _ = sock.recvmsg(
        MAX_BYTES, socket.CMSG_SPACE(MAX_DESCRIPTORS * item), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % item])
    return data, list(descriptors), flags


def decode(data: bytes, descriptors: list[int], flags: int = 0) -> Request:
    """Read a packet. Takes over the descriptors: one ends in an `Add`, all others are closed.

    Raises:
        MalformedMessage: Cut off, unreadable, of no known kind, with missing fields, or with other
            descriptors than its kind has.
    """
    taken: int | None = None
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise MalformedMessage(
                f"packet cut off: more than {MAX_BYTES} bytes or {MAX_DESCRIPTORS} descriptors"
            )
        message = _parse(data)
        kind = message.WhichOneof("payload")
        expected = 1 if kind == "add" else 0
        if len(descriptors) != expected:
            raise MalformedMessage(
                f"{kind or 'message'} with {len(descriptors)} descriptors, expected {expected}"
            )
        match kind:
            case "add":
                pod = _pod(message.add)
                taken = descriptors[0]
                return Add(pod, _namespace(taken, pod))
            case "keep":
                return Keep(_uid(message.keep.uid, "keep"))
            case "del":
                return Delete(_uid(getattr(message, "del").uid, "del"))
            case "snapshot_sent":
                return SnapshotSent()
            case _:
                raise MalformedMessage("message of no known kind")
    finally:
        close(descriptor for descriptor in descriptors if descriptor != taken)


def encode_ack(error: str | None) -> bytes:
    """The answer to a request: an empty error for done."""
    return zds_pb2.WorkloadResponse(ack=zds_pb2.Ack(error=error or "")).SerializeToString()


def close(descriptors: Iterable[int]) -> None:
    """Close all."""
    for descriptor in descriptors:
        os.close(descriptor)


def _parse(data: bytes) -> zds_pb2.WorkloadRequest:
    try:
        return zds_pb2.WorkloadRequest.FromString(data)
    except (DecodeError, UnicodeDecodeError) as exc:
        raise MalformedMessage(f"no WorkloadRequest: {exc}") from exc


def _uid(uid: str, kind: str) -> str:
    if not uid:
        raise MalformedMessage(f"{kind} without uid")
    return uid


def _pod(add: zds_pb2.AddWorkload) -> PodInfo:
    info = add.workload_info
    pod = PodInfo(
        uid=_uid(add.uid, "add"),
        name=info.name,
        namespace=info.namespace,
        service_account=info.service_account,
    )
    if not (pod.name and pod.namespace and pod.service_account):
        raise MalformedMessage(f"add of {pod.uid} without name, namespace or service account")
    return pod


def _namespace(descriptor: int, pod: PodInfo) -> Netns:
    try:
        return Netns(descriptor)  # closes it when it is something else
    except NamespaceError as exc:
        raise MalformedMessage(f"add of {pod.uid}: {exc.strerror}") from exc
