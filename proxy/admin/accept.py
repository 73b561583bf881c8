"""Accepting connections: a limited number at a time, each served by a task of one parent."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from proxy.net.accepting import Accepting

log = logging.getLogger("proxy.admin")

LIMIT = 64
"""Connections served at a time; more wait in the backlog."""


def tcp_listener(address: str, port: int) -> socket.socket:
    """A listener in the proxy's own namespace, on `::` for both families.

    Raises:
        OSError: It names the address, as when it is taken.
    """
    where, family = (f"[{address}]", socket.AF_INET6) if ":" in address else (address, socket.AF_INET)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.setblocking(False)
        sock.listen(LIMIT)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"listen on {where}:{port}: {exc.strerror}") from exc
    return sock


def unix_listener(path: Path) -> socket.socket:
    """A listener that only the proxy's own user reaches. A socket left by a dead process is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(LIMIT)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"listen on {path}: {exc.strerror}") from exc
    return sock


async def accept(listener: socket.socket, serve: Callable[[socket.socket], Awaitable[None]]) -> None:
    """Serve each connection in a task, until cancelled; then end them all. The listener is not closed."""
    live = 0

    async def one(connection: socket.socket) -> None:
        nonlocal live
        try:
            await serve(connection)
        except (OSError, TimeoutError):
            log.debug("connection lost", exc_info=True)
        except Exception:  # one connection must not end the others, nor the data path
            log.exception("connection failed")
        finally:
            connection.close()
            live -= 1
            if live == LIMIT - 1:
                accepting.resume()

    def taken(connection: socket.socket, _peer: object) -> None:
        nonlocal live
        live += 1
        if live == LIMIT:
            accepting.pause()
        tasks.create_task(one(connection), name="admin connection")

    async with asyncio.TaskGroup() as tasks:
        accepting = Accepting(listener, taken, name="admin")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            accepting.close()
