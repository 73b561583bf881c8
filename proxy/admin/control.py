"""The control and the bench socket: JSON lines, answered in order.

A request is `{"op": ..., ...arguments}`; the answer `{"ok": {...}, "bytes": 0}` or
`{"error": {"kind": ..., "message": ...}}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from proxy.config import Reuse, SameNode
from proxy.context import Context
from proxy.telemetry.journal import ROOM_MAX

MAX_LINE = 64 * 1024
DROP_TIMEOUT_S = 2.0
"""How long `drop-tunnels` waits for both ends' tunnels to be gone."""
DROP_POLL_S = 0.0005
KIB = 1024
MOST_STREAMS = 2**31 - 1
LEAST_WINDOW_KIB, MOST_WINDOW_KIB = 64, 65_536
"""Of a stream: what a connection begins with (RFC 9113 section 6.9.2), to a quarter of what fits in memory
that a test may take."""

Op = Callable[[dict[str, Any]], Awaitable[dict[str, object]]]


class Refused(Exception):
    """An operation was not done."""

    def __init__(self, message: str, *, kind: str = "refused") -> None:
        super().__init__(message)
        self.kind = kind


async def serve(connection: socket.socket, ops: Mapping[str, Op]) -> None:
    """Answer requests until the other side closes, or sends a line that is too long."""
    loop = asyncio.get_running_loop()
    waiting = bytearray()
    while True:
        line, newline, rest = waiting.partition(b"\n")
        if newline:
            waiting = rest
            await loop.sock_sendall(connection, await answer(bytes(line), ops))
            continue
        chunk = await loop.sock_recv(connection, MAX_LINE)
        if not chunk or len(waiting) > MAX_LINE:
            return
        waiting += chunk


async def answer(line: bytes, ops: Mapping[str, Op]) -> bytes:
    """One request's answer, with its newline."""
    try:
        document = await _dispatch(line, ops)
    except Refused as exc:
        return _line({"error": {"kind": exc.kind, "message": str(exc)}})
    return _line({"ok": document, "bytes": 0})


async def _dispatch(line: bytes, ops: Mapping[str, Op]) -> dict[str, object]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise Refused(f"no JSON: {exc}", kind="malformed") from exc
    if not isinstance(request, dict):
        raise Refused("no object", kind="malformed")
    op = request.pop("op", None)
    if not isinstance(op, str) or op not in ops:
        raise Refused(f"unknown op {op!r}; known: {', '.join(sorted(ops))}", kind="unknown-op")
    return await ops[op](request)


def _line(document: dict[str, object]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def control_ops(context: Context, loop_name: str) -> dict[str, Op]:
    """What the control socket does: read versions and counters, turn switches, keep a journal."""

    async def hello(_: dict[str, Any]) -> dict[str, object]:
        return {"python": platform.python_version(), "tls": ssl.OPENSSL_VERSION, "loop": loop_name}

    async def stats(_: dict[str, Any]) -> dict[str, object]:
        await context.telemetry.settle()
        return {
            **context.stats.snapshot(),
            "cpu_ns": time.process_time_ns(),
            "rss_bytes": _resident_bytes(),
            "loop": loop_name,
            **_switches(context),
            "mesh_version": context.store.state.version,
            "policies": len(context.store.state.policies),
        }

    async def configure(arguments: dict[str, Any]) -> dict[str, object]:
        switches = context.switches
        wanted: dict[str, Any] = {
            "reuse": switches.reuse,
            "same_node": switches.same_node,
            "streams_per_tunnel": switches.streams_per_tunnel,
            "window_kib": switches.window_bytes and switches.window_bytes // KIB,
        }
        unknown = sorted(set(arguments) - set(wanted))
        if unknown:
            raise Refused(f"unknown switch {unknown[0]!r}; known: {', '.join(wanted)}")
        wanted |= arguments
        try:
            reuse, same_node = Reuse(wanted["reuse"]), SameNode(wanted["same_node"])
        except ValueError as exc:
            allowed = f"reuse {', '.join(Reuse)}; same_node {', '.join(SameNode)}"
            raise Refused(f"{exc}; expected {allowed}") from exc
        streams = _count(wanted, "streams_per_tunnel", 1, MOST_STREAMS)
        window = _count(wanted, "window_kib", LEAST_WINDOW_KIB, MOST_WINDOW_KIB)
        switches.reuse, switches.same_node = reuse, same_node
        switches.streams_per_tunnel = streams
        switches.window_bytes = None if window is None else window * KIB
        return _switches(context)

    async def journal(arguments: dict[str, Any]) -> dict[str, object]:
        room = arguments.get("room")
        if not isinstance(room, int) or not 0 <= room <= ROOM_MAX:
            raise Refused(f"room {room!r}; expected connections to keep, 0 (off) to {ROOM_MAX}")
        context.telemetry.journal.open(room)
        return {"room": room}

    async def take_journal(_: dict[str, Any]) -> dict[str, object]:
        return {**context.telemetry.journal.take(), "open": len(context.telemetry.live)}

    return {
        "hello": hello,
        "stats": stats,
        "configure": configure,
        "journal": journal,
        "take-journal": take_journal,
    }


def bench_ops(context: Context) -> dict[str, Op]:
    """What the bench socket does: make tunnels cold, or nothing at the same cost."""

    async def drop_tunnels(_: dict[str, Any]) -> dict[str, object]:
        before = _usage()
        context.tunnels.drop()
        try:
            async with asyncio.timeout(DROP_TIMEOUT_S):
                # Counters are plain integers, so that the byte path pays for no event per tunnel.
                while context.stats.tunnels_outbound or context.stats.tunnels_inbound:  # noqa: ASYNC110  see above
                    await asyncio.sleep(DROP_POLL_S)
        except TimeoutError:
            pass  # the counts say what is left
        return {**_tunnels(context), "used_before": before, "used_after": _usage()}

    async def nothing(_: dict[str, Any]) -> dict[str, object]:
        used = _usage()
        return {**_tunnels(context), "used_before": used, "used_after": used}

    return {"drop-tunnels": drop_tunnels, "nothing": nothing}


def _switches(context: Context) -> dict[str, object]:
    settings, switches = context.settings, context.switches
    return {
        "reuse": switches.reuse.value,
        "same_node": switches.same_node.value,
        "streams_per_tunnel": switches.streams_per_tunnel or settings.max_streams,
        "window_kib": (switches.window_bytes or settings.stream_window_bytes) // KIB,
    }


def _count(wanted: dict[str, Any], switch: str, low: int, high: int) -> int | None:
    value = wanted[switch]
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused(f"{switch} = {value!r}; expected {low} to {high}")
    return value


def _tunnels(context: Context) -> dict[str, object]:
    return {
        "tunnels_outbound": context.stats.tunnels_outbound,
        "tunnels_inbound": context.stats.tunnels_inbound,
    }


def _usage() -> dict[str, int]:
    """What this process has used so far: CPU time, and context switches of both kinds. 2 us."""
    import resource  # noqa: PLC0415  not on Windows, where no bench asks

    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_ns": time.process_time_ns(), "switches": used.ru_nvcsw + used.ru_nivcsw}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
