"""One HTTP round trip to each target, again until it succeeds: whether a testbed is ready.

Runs inside a pod as `python3 -m harness.load.roundtrip JSON`, standard library only. The argument is
`{"deadline_s": ..., "targets": [{"name", "node", "address", "port"}]}`; the answer on standard output
is `{name: "ok" | what happened last}`.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ATTEMPT_TIMEOUT_S = 1.0
PAUSE_S = 0.02


def attempt(target: dict[str, Any]) -> str:
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


def persist(target: dict[str, Any], deadline: float) -> str:
    """Attempts until one succeeds or time is up."""
    while True:
        result = attempt(target)
        if result == "ok" or time.monotonic() > deadline:
            return result
        time.sleep(PAUSE_S)


def main() -> None:
    """All targets at the same time."""
    request = json.loads(sys.argv[1])
    deadline = time.monotonic() + request["deadline_s"]
    targets = request["targets"]
    with ThreadPoolExecutor(max(len(targets), 1)) as pool:
        results = list(pool.map(lambda target: persist(target, deadline), targets))
    names = [target["name"] for target in targets]
    sys.stdout.write(json.dumps(dict(zip(names, results, strict=True))) + "\n")


if __name__ == "__main__":
    main()
