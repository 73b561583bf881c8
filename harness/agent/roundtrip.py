"""One HTTP round trip to each target, again until it succeeds: whether a testbed is ready.

The agent makes them in a pod's namespace. By hand, inside a pod: `python3 -m harness.agent.roundtrip JSON`,
standard library only; the argument holds those of `round_trips`, the answer is what it returns.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ATTEMPT_TIMEOUT_S = 1.0
PAUSE_S = 0.02


def _attempt(target: Mapping[str, Any]) -> str:
    """One request; `ok` when the right pod on the right node answered with our nonce, else what came."""
    nonce = secrets.token_hex(8)
    address = (target["address"], target["port"])
    try:
        with socket.create_connection(address, timeout=ATTEMPT_TIMEOUT_S) as connection:
            connection.sendall(
                f"GET /0?n={nonce} HTTP/1.1\r\nHost: ready\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode(errors="replace")
    except TimeoutError:
        return f"no answer within {ATTEMPT_TIMEOUT_S} s"
    except OSError as exc:
        return exc.strerror or type(exc).__name__
    expected = f"nonce={nonce} pod={target['name']} node={target['node']} "
    if expected in answer:
        return "ok"
    return f"unexpected answer {answer[:200]!r}" if answer else "connection closed without an answer"


def _persist(target: Mapping[str, Any], deadline: float) -> str:
    """Attempts until one succeeds or time is up."""
    while True:
        result = _attempt(target)
        if result == "ok" or time.monotonic() > deadline:
            return result
        time.sleep(PAUSE_S)


def round_trips(targets: Sequence[Mapping[str, Any]], deadline_s: float) -> dict[str, str]:
    """One round trip to each target, all at the same time, again until it succeeds or time is up.

    Args:
        targets: `name`, `node`, `address` and `port` of each.
        deadline_s: For all of them.

    Returns:
        Name -> `ok`, or what happened last.
    """
    deadline = time.monotonic() + deadline_s
    with ThreadPoolExecutor(max(len(targets), 1)) as pool:
        results = list(pool.map(lambda target: _persist(target, deadline), targets))
    return dict(zip((target["name"] for target in targets), results, strict=True))


def main() -> None:
    """Make those that the argument says."""
    sys.stdout.write(json.dumps(round_trips(**json.loads(sys.argv[1]))) + "\n")


if __name__ == "__main__":
    main()
