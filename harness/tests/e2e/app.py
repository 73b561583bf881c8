"""An app in a pod: does one exchange with plain sockets and prints what it saw as JSON.

Run inside pods with the pod's own Python (`python3 -c`), so it imports nothing of ours.
"""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

TIMEOUT_S = 10.0


def main() -> None:
    """Do what the argument says."""
    wish = json.loads(sys.argv[1])
    try:
        seen = EXCHANGES[wish.pop("what")](**wish)
    except OSError as exc:
        seen = {"error": type(exc).__name__}
    sys.stdout.write(json.dumps(seen))


def _connect(address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), timeout=TIMEOUT_S)


def _rest(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def http(address: str, port: int, nonce: str) -> dict[str, Any]:
    """One request; the answer's line as words."""
    with _connect(address, port) as connection:
        connection.sendall(f"GET /0?n={nonce} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
        answer = _rest(connection).decode()
        line = answer.partition("\r\n\r\n")[2].strip()
        own = connection.getsockname()[0]
    return {"words": dict(word.partition("=")[::2] for word in line.split()), "own": own}


def half_close(address: str, port: int, size: int) -> dict[str, Any]:
    """Send everything to the echo, end our direction at once, and only then read."""
    sent = hashlib.sha256(str(size).encode()).digest() * (size // 32)
    with _connect(address, port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = _rest(connection)
    return {"same": sent == received, "size": len(received)}


def sink(address: str, port: int, size: int) -> dict[str, Any]:
    """Send everything to the sink; what it counted and hashed at the end, and what was right."""
    sent = bytes(range(256)) * (size // 256)
    with _connect(address, port) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        *_, said = _rest(connection).decode().splitlines(keepends=True)
    return {"said": said, "hash": hashlib.sha256(sent).hexdigest(), "size": len(sent)}


def abort(address: str, port: int) -> dict[str, Any]:
    """Send something to the echo and reset the connection without reading the answer."""
    connection = _connect(address, port)
    connection.sendall(b"x" * 100)
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return {}


def mark() -> dict[str, Any]:
    """Try to pass by the redirection with the proxy's own mark."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, 36, 0x539)  # SO_MARK, asm-generic/socket.h
    return {"marked": True}


def edit_rules() -> dict[str, Any]:
    """Begin as iptables (legacy) and nft do before they change a rule; what the kernel says to each."""
    seen = {"iptables": "allowed"}
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except PermissionError as exc:
        seen["iptables"] = type(exc).__name__
    # nfnetlink.h: nlmsghdr with NFNL_MSG_BATCH_BEGIN and NLM_F_REQUEST | NLM_F_ACK; nfgenmsg with
    # NFNL_SUBSYS_NFTABLES. The answer is an nlmsgerr: the negative errno follows its header.
    batch = struct.pack("=IHHII", 20, 16, 5, 1, 0) + struct.pack("=BB", 0, 0) + struct.pack("!H", 10)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        netfilter.settimeout(TIMEOUT_S)
        netfilter.send(batch)
        (answer,) = struct.unpack_from("=i", netfilter.recv(4096), 16)
    return seen | {"nft": errno.errorcode.get(-answer, "allowed")}


def addresses() -> dict[str, Any]:
    """Every IPv6 address of the namespace."""
    with open("/proc/net/if_inet6") as lines:  # noqa: PTH123 - this runs where nothing else is needed
        packed = [bytes.fromhex(line.split()[0]) for line in lines]
    return {"addresses": sorted(socket.inet_ntop(socket.AF_INET6, each) for each in packed)}


EXCHANGES: dict[str, Callable[..., dict[str, Any]]] = {
    "http": http,
    "half_close": half_close,
    "sink": sink,
    "abort": abort,
    "mark": mark,
    "edit_rules": edit_rules,
    "addresses": addresses,
}

if __name__ == "__main__":
    main()
