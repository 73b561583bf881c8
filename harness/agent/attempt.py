"""One plaintext request out of a pod, and how it ended: what an app there would have seen."""

from __future__ import annotations

import errno
import socket
from typing import Any

TIMEOUT_S = 2.0
"""For each step; a refusal takes a millisecond or two."""
ANSWER_MAX_BYTES = 4096


def attempt(*, address: str, port: int, nonce: str) -> dict[str, Any]:
    """Connect, send a GET with the nonce, and read to the end.

    Returns:
        `connected`: whether the handshake was done. `answer_bytes`: how many came back.
        `ended`: `answered`, `closed` (FIN without a byte), or an errno's name (`ECONNRESET`, `ETIMEDOUT`).
    """
    seen: dict[str, Any] = {"connected": False, "answer_bytes": 0}
    head = f"GET /0?n={nonce} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT_S) as connection:
            seen["connected"] = True
            connection.sendall(head.encode())
            while chunk := connection.recv(ANSWER_MAX_BYTES - seen["answer_bytes"]):
                seen["answer_bytes"] += len(chunk)
    except TimeoutError:
        return {**seen, "ended": "ETIMEDOUT"}
    except OSError as exc:
        return {**seen, "ended": errno.errorcode.get(exc.errno or 0, type(exc).__name__)}
    return {**seen, "ended": "answered" if seen["answer_bytes"] else "closed"}
