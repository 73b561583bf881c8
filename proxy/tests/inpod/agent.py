"""A node agent for tests: the server's end of ZDS, by hand."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Self

from proxy.inpod.api import PodInfo
from proxy.net.namespace import Netns
from proxy.proto import zds_pb2


def add(pod: PodInfo) -> bytes:
    """An add, without its descriptor."""
    info = zds_pb2.WorkloadInfo(name=pod.name, namespace=pod.namespace, service_account=pod.service_account)
    message = zds_pb2.AddWorkload(uid=pod.uid, workload_info=info)
    return zds_pb2.WorkloadRequest(add=message).SerializeToString()


def keep(uid: str) -> bytes:
    """A keep."""
    return zds_pb2.WorkloadRequest(keep=zds_pb2.KeepWorkload(uid=uid)).SerializeToString()


def delete(uid: str) -> bytes:
    """A del."""
    request = zds_pb2.WorkloadRequest()
    getattr(request, "del").uid = uid
    return request.SerializeToString()


def snapshot_sent() -> bytes:
    """The end of a snapshot."""
    return zds_pb2.WorkloadRequest(snapshot_sent=zds_pb2.SnapshotSent()).SerializeToString()


class Agent:
    """Listens, takes one proxy, asks it things."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(10)
        self.connection: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.hang_up()
        self.listener.close()

    def hang_up(self) -> None:
        """End the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    async def accept(self) -> bytes:
        """Wait for the proxy; its hello."""
        connection, _ = await asyncio.to_thread(self.listener.accept)
        connection.settimeout(10)
        self.connection = connection
        return await asyncio.to_thread(connection.recv, 65536)

    async def ask(self, packet: bytes, *descriptors: int) -> str:
        """Send a packet with descriptors; the error that comes back, empty for done."""
        return await asyncio.to_thread(self._ask, packet, descriptors)

    async def add(self, pod: PodInfo, netns: Netns) -> str:
        """Add a pod."""
        return await self.ask(add(pod), netns.fd)

    def _ask(self, packet: bytes, descriptors: tuple[int, ...]) -> str:
        assert self.connection is not None
        if descriptors:
            socket.send_fds(self.connection, [packet], list(descriptors))
        else:
            self.connection.send(packet)
        answer = self.connection.recv(65536)
        assert answer, "the proxy hung up"
        return zds_pb2.WorkloadResponse.FromString(answer).ack.error
