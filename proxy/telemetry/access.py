"""The access line: one per connection, with ztunnel's fields in ztunnel's order.

Source: ztunnel proxy/metrics.rs. Ours are at the end: the flag where it is set, the policy that
decided, what a dry run would have decided, the trace that joins the two proxies' lines.
"""

from __future__ import annotations

import json
import logging
import re
from functools import lru_cache

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import SocketAddress, Workload, authority
from proxy.telemetry.record import ConnectionRecord, Direction, Flag

log = logging.getLogger("access")
phase_log = logging.getLogger("phases")

UNQUOTED = frozenset({"src.addr", "dst.addr", "dst.hbone_addr"})
"""Fields that ztunnel writes without quotation marks, as they are."""

Value = str | int
_harmless = re.compile(r"[ !#-\[\]-~]*", re.ASCII).fullmatch
"""Matches texts that JSON writes as they are."""


def write(record: ConnectionRecord) -> None:
    """Write a completed connection's line, and its phases where they are asked for."""
    level = logging.INFO if record.error is None else logging.ERROR
    if log.isEnabledFor(level):
        # As `log.log` would, which takes twice as long to come to the same.
        line = logging.LogRecord(log.name, level, "", 0, "connection complete", None, None)
        line.connection = record
        log.handle(line)
    if phase_log.isEnabledFor(logging.INFO):
        phase_log.info("connection phases", extra={"fields": phases(record)})


def fields(record: ConnectionRecord) -> dict[str, Value]:
    """What the line says; unknown things are left out."""
    secured = record.mutual_tls
    outbound = record.direction is Direction.OUTBOUND
    sent, received = record.bytes_sent, record.bytes_received
    ended_ns = record.ended_ns if record.ended_ns is not None else record.accepted_ns
    found: dict[str, Value | None] = {
        "src.addr": _written(record.source_address),
        **_end("src", record.source, record.source_identity if secured else None),
        "dst.addr": _written(record.destination_address),
        "dst.hbone_addr": record.hbone_address,
        "dst.service": record.service.hostname if record.service is not None else None,
        **_end("dst", record.destination, record.destination_identity if secured else None),
        "direction": record.direction.value,
        # Seen from the pod whose proxy writes the line.
        "bytes_sent": sent if outbound else received,
        "bytes_recv": received if outbound else sent,
        "duration": f"{(ended_ns - record.accepted_ns) // 1_000_000}ms",
        "error": record.error,
        "flag": record.flag.value if record.flag is not Flag.NONE else None,
        "policy": record.policy,
        "dry_run": record.dry_run,
        "trace": record.trace_id,
    }
    return {name: value for name, value in found.items() if value is not None and value != ""}


def plain(record: ConnectionRecord) -> str:
    """`fields` as the plain form writes them. What repeats from line to line is written once."""
    secured = record.mutual_tls
    source = _end_plain("src", record.source, record.source_identity if secured else None)
    text = f"src.addr={authority(record.source_address)}{source}"
    if record.destination_address is not None:
        text += f" dst.addr={authority(record.destination_address)}"
    if record.hbone_address:
        text += f" dst.hbone_addr={record.hbone_address}"
    if record.service is not None:
        text += f" dst.service={quoted(record.service.hostname)}"
    text += _end_plain("dst", record.destination, record.destination_identity if secured else None)
    outbound = record.direction is Direction.OUTBOUND
    sent, received = record.bytes_sent, record.bytes_received
    if not outbound:
        sent, received = received, sent
    ended_ns = record.ended_ns if record.ended_ns is not None else record.accepted_ns
    duration_ms = (ended_ns - record.accepted_ns) // 1_000_000
    text += f' direction="{record.direction.value}" bytes_sent={sent} bytes_recv={received}'
    text += f' duration="{duration_ms}ms"'
    if record.error:
        text += f" error={quoted(record.error)}"
    if record.flag is not Flag.NONE:
        text += f' flag="{record.flag.value}"'
    for name, value in (("policy", record.policy), ("dry_run", record.dry_run), ("trace", record.trace_id)):
        if value:
            text += f" {name}={quoted(value)}"
    return text


def quoted(value: str) -> str:
    """Texts are quoted and escaped: some of them come from peers."""
    return f'"{value}"' if _harmless(value) else json.dumps(value)


def phases(record: ConnectionRecord) -> dict[str, Value]:
    """Phases reached, in ns since accept, and what joins them to the other proxy's."""
    found: dict[str, Value] = {
        "direction": record.direction.value,
        "src.addr": _written(record.source_address) or "",
        "accepted_ns": record.accepted_ns,
    }
    if record.trace_id is not None:
        found["trace"] = record.trace_id
    for name in record.phases.__slots__:
        moment = getattr(record.phases, name)
        if moment is not None:
            found[name] = moment - record.accepted_ns
    return found


def _end(side: str, workload: Workload | None, identity: SpiffeId | None) -> dict[str, str | None]:
    return {
        f"{side}.workload": workload.name if workload is not None else None,
        f"{side}.namespace": workload.namespace if workload is not None else None,
        f"{side}.identity": str(identity) if identity is not None else None,
        f"{side}.cluster": workload.cluster if workload is not None else None,
    }


@lru_cache(maxsize=1024)
def _end_plain(side: str, workload: Workload | None, identity: SpiffeId | None) -> str:
    """As `_end`, written, with a space before each field."""
    found = _end(side, workload, identity)
    return "".join(f" {name}={quoted(value)}" for name, value in found.items() if value)


def _written(address: SocketAddress | None) -> str | None:
    return None if address is None else authority(address)
