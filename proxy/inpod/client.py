"""The connection to the node agent. The proxy dials, says hello, and answers every request in order."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

from proxy.inpod import protocol
from proxy.inpod.pods import Pods, Refused
from proxy.inpod.protocol import MalformedMessage

log = logging.getLogger("proxy.inpod")

BACKOFF_FIRST_S = 0.01
BACKOFF_CAP_S = 15.0
"""As ztunnel."""


class Disconnected(Exception):
    """The agent is not there, or is no longer."""


class ZdsClient:
    """Serves the pods that the agent names, connection after connection. Pods outlive connections."""

    def __init__(self, path: Path, pods: Pods) -> None:
        self.path = path
        self._pods = pods
        self._backoff_s = BACKOFF_FIRST_S

    async def run(self) -> None:
        """Connect, converse, reconnect, until cancelled."""
        trouble = ""
        while True:
            try:
                await self.converse()
            except Disconnected as exc:
                if str(exc) != trouble:
                    log.warning("agent not reached, trying again error=%s", exc)
                    trouble = str(exc)
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_CAP_S)

    async def converse(self) -> None:
        """One connection from hello to its end.

        Raises:
            Disconnected: Always, in the end.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as sock:
            try:
                # A unix socket connects at once or not at all (EAGAIN: the agent's queue is full).
                sock.connect(str(self.path))
                await self._send(sock, protocol.HELLO)
                self._pods.connected()
                log.info("agent reached path=%s", self.path)
                while True:
                    await self._answer_one(sock)
            except OSError as exc:
                raise Disconnected(f"ZDS socket {self.path}: {exc.strerror}") from exc
            finally:
                self._pods.disconnected()

    async def _answer_one(self, sock: socket.socket) -> None:
        data, descriptors, flags = await self._receive(sock)
        if not data:
            protocol.close(descriptors)
            raise Disconnected(f"ZDS socket {self.path}: closed by the agent")
        error = None
        try:
            self._pods.handle(protocol.decode(data, descriptors, flags))
        except (MalformedMessage, Refused) as exc:
            error = str(exc)
            log.warning("request refused error=%s", error)
        await self._send(sock, protocol.encode_ack(error))
        self._backoff_s = BACKOFF_FIRST_S

    async def _receive(self, sock: socket.socket) -> tuple[bytes, list[int], int]:
        while True:
            try:
                return protocol.receive(sock)
            except BlockingIOError:
                await _readable(sock)

    async def _send(self, sock: socket.socket, packet: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, packet)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
