"""What the kernel counts in the namespace that the process is in, read in one go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.agent import conntrack
from harness.agent.appliers import digest_of
from harness.agent.capture import load

_NET = Path("/proc/self/net")


def read(*, applier: str, tables: Sequence[str]) -> dict[str, Any]:
    """Rules with their counters, the rules' digest, conntrack's count, TCP's counters, links' counters."""
    lines = load(applier).read(tables)
    return {
        "lines": lines,
        "digest": digest_of(lines),
        "conntrack": conntrack.count(),
        "netstat": pairs((_NET / "netstat").read_text()) | pairs((_NET / "snmp").read_text()),
        "links": devices((_NET / "dev").read_text()),
    }


def pairs(text: str) -> dict[str, int]:
    """/proc/net/netstat or snmp, two lines per group (names, values), as `TcpExt.ListenDrops` -> value."""
    found = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, _, keys = names.partition(":")
        for key, value in zip(keys.split(), values.partition(":")[2].split(), strict=True):
            found[f"{group}.{key}"] = int(value)
    return found


def devices(text: str) -> dict[str, dict[str, int]]:
    """/proc/net/dev as link -> packets and bytes each way."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = [int(value) for value in rest.split()]
        found[name.strip()] = {
            "rx_bytes": values[0],
            "rx_packets": values[1],
            "tx_bytes": values[8],
            "tx_packets": values[9],
        }
    return found
