"""The kernel's connection table of the namespace that the process is in: dump, flush, count."""

from __future__ import annotations

import socket
import time
from typing import Any

from harness.agent import ctnetlink

AGREE_S = 1.0
"""How long a dump may take to hold as many entries as the kernel counts: expired entries and entries of
packets under way count, and neither lasts."""
_AGAIN_S = 0.01


def dump() -> dict[str, Any]:
    """The whole table: TCP's entries, how many there are of other protocols, and how many the kernel counts.

    The kernel's count is the control of the dump. They differ only where they still did after `AGREE_S`.

    Raises:
        CtnetlinkError: The kernel does not give its table out.
    """
    deadline = time.monotonic() + AGREE_S
    while True:
        entries = ctnetlink.dump()
        counted = ctnetlink.size()
        if len(entries) == counted or time.monotonic() > deadline:
            break
        time.sleep(_AGAIN_S)
    tcp = [entry for entry in entries if entry.original.protocol == socket.IPPROTO_TCP]
    return {
        "counted": counted,
        "others": len(entries) - len(tcp),
        "entries": [_document(entry) for entry in tcp],
    }


def count() -> int:
    """How many entries the kernel counts, expired ones that it has not swept yet included.

    Raises:
        CtnetlinkError: The kernel does not say.
    """
    return ctnetlink.size()


def flush() -> None:
    """Remove every entry.

    Raises:
        CtnetlinkError: The kernel refused.
    """
    ctnetlink.flush()


def _document(entry: ctnetlink.Entry) -> dict[str, Any]:
    return {
        "src": entry.original.source,
        "sport": entry.original.source_port,
        "dst": entry.original.destination,
        "dport": entry.original.destination_port,
        "reply_src": entry.reply.source,
        "reply_sport": entry.reply.source_port,
        "reply_dst": entry.reply.destination,
        "reply_dport": entry.reply.destination_port,
        "state": entry.state,
        "mark": entry.mark,
        "zone": entry.zone,
    }
