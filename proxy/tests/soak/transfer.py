"""Much data through one stream of one tunnel, over real TLS: past every counter of 31 and 32 bits."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from dataclasses import dataclass
from random import Random

from proxy.relay.outcome import End
from proxy.tests.tunnel.pair import tunnels

BLOCK_BYTES = 1_000_003
"""Prime: no frame, record or window begins where a block does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What was sent and what came, with their checksums, and how it ended."""

    sent: int
    received: int
    same: bool
    ends: tuple[End, End]
    seconds: float

    def __str__(self) -> str:
        rate = self.received * 8 / self.seconds / 1e9
        gibibytes = self.received / 2**30
        return f"transfer: {gibibytes:.2f} GiB through one tunnel in {self.seconds:.0f} s, {rate:.2f} Gb/s"

    def problems(self) -> list[str]:
        """What must not be."""
        found = []
        if not self.same or self.received != self.sent:
            found.append(
                f"transfer: {self.sent} bytes were sent, {self.received} came, same content: {self.same}"
            )
        if self.ends != (End.CLEAN, End.CLEAN):
            found.append(f"transfer: ended {self.ends[0].value} and {self.ends[1].value}, not clean")
        return found


async def transfer(length: int, *, seed: int, patience_s: float) -> Transfer:
    """Send `length` bytes from app to backend, then FIN both ways."""
    block = Random(seed).randbytes(BLOCK_BYTES)
    loop = asyncio.get_running_loop()
    began = time.monotonic()

    async def send(app: socket.socket) -> int:
        check, left = 0, length
        while left:
            part = block[:left]
            await loop.sock_sendall(app, part)
            check, left = zlib.crc32(part, check), left - len(part)
        app.shutdown(socket.SHUT_WR)
        return check

    async with tunnels(patience_s=patience_s) as pair:
        relayed = await pair.relayed(pair.first)
        check, received = 0, 0
        buffer = memoryview(bytearray(1 << 20))
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send(relayed.app))
            while count := await loop.sock_recv_into(relayed.backend, buffer):
                check = zlib.crc32(buffer[:count], check)
                received += count
        relayed.backend.shutdown(socket.SHUT_WR)
        ends = (await relayed.client_task).end, (await relayed.server_task).end
        relayed.close()
    return Transfer(
        sent=length,
        received=received,
        same=check == sending.result(),
        ends=ends,
        seconds=time.monotonic() - began,
    )
