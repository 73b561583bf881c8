"""The app of the soak, a process of its own: `-m proxy.tests.soak.app ADDRESS` prints its port, and echoes.

What it buffers for a thousand connections is not the proxies' memory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from subprocess import PIPE

from proxy.tests.explicit.reach import app_socket, echo
from proxy.tests.soak import descriptors
from proxy.tests.soak.parent import live_and_die_with_parent

BACKLOG = 4096
"""A thousand may call at once; asyncio's own 100 would leave some of them without an answer for 10 s."""


@asynccontextmanager
async def app(address: str) -> AsyncIterator[int]:
    """The app's port, as soon as it listens there; killed after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, address, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def _serve(address: str) -> None:
    live_and_die_with_parent()
    descriptors.allow(1000)
    sock = app_socket(address)
    async with await asyncio.start_server(echo, sock=sock, backlog=BACKLOG) as server:
        sys.stdout.write(f"{sock.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
