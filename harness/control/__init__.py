"""The channel between the harness and what it started: JSON lines on a unix socket.

A request is one line, `{"op": ..., ...arguments}`. A reply is one line, `{"ok": {...}, "bytes": n}`
followed by n raw bytes, or `{"error": {"kind": ..., "message": ...}}`. Requests on one connection
are answered in order. `Channel` asks, `serve` answers; the proxy has its own server for the same form.
"""

from harness.control.channel import Channel, ControlError, Reply, Unreachable
from harness.control.server import Handler, Refused, serve

__all__ = ["Channel", "ControlError", "Handler", "Refused", "Reply", "Unreachable", "serve"]
