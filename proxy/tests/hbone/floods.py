"""Frames that are legal by themselves, once more than is allowed."""

from __future__ import annotations

from proxy.hbone import frames
from proxy.hbone.frames import FrameType
from proxy.tests.hbone.raw import data, open_block

PING = frames.ping(b"12345678", ack=False)
FLOODS = [
    ("T03", "CONTINUATION", open_block(b"") + frames.frame(FrameType.CONTINUATION, 0, 1, b"") * 9),
    ("T03", "header bytes", open_block(b"0" * 40_000) + frames.frame(9, 0, 1, bytes(40_000))),
    ("T06", "PING", PING * 1001),
    ("T07", "SETTINGS", frames.settings([]) * 101),
    ("T07", "SETTINGS entries", frames.settings([(0x4242, 1)] * 33)),
    ("T08", "empty DATA", data(1, b"") * 101),
    ("T08", "padding", data(1, b"\5" + b"\0" * 5, frames.PADDED) * 1001),
    ("T10", "PRIORITY", frames.frame(FrameType.PRIORITY, 0, 1, b"\0\0\0\0\0") * 1001),
    ("T10", "PRIORITY", frames.frame(0xEE, 0, 1, b"?") * 1001),
    ("T11", "WINDOW_UPDATE", frames.window_update(1, 1) * 1100),
]
"""(id, what it is a flood of, frames). Those that are no header block follow a request on stream 1."""
NAMES = [f"{each}-{kind}-{number}" for number, (each, kind, _) in enumerate(FLOODS)]
