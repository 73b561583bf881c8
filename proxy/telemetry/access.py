"""The access line: one per connection, with ztunnel's fields in ztunnel's order.

Source: ztunnel src/proxy/metrics.rs. Ours are at the end: the flag where it is set, the policy that
decided, what a dry run would have decided, the trace that joins the two proxies' lines.
"""

from __future__ import annotations

import json
import logging
import re
from functools import lru_cache

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import SocketAddress, Workload, authority
from proxy.telemetry.record import Claims, ConnectionRecord, Direction, Flag

log = logging.getLogger("access")
phase_log = logging.getLogger("phases")

UNQUOTED = frozenset({"src.addr", "dst.addr", "dst.hbone_addr"})
"""Fields that ztunnel writes without quotation marks, as they are."""

Value = str | int
Field = tuple[str, Value]
_harmless = re.compile(r"[ !#-\[\]-~]*", re.ASCII).fullmatch
"""Matches texts that JSON writes as they are."""


class Repeated:
    """Fields that are the same from line to line, so that they are written once."""

    __slots__ = ("fields", "text")

    def __init__(self, *given: tuple[str, Value | None]) -> None:
        self.fields = tuple((name, value) for name, value in given if value)
        self.text = " ".join(plainly(name, value) for name, value in self.fields)


def write_opened(record: ConnectionRecord) -> None:
    """Write that a connection begins, for whoever asks for that much."""
    if log.isEnabledFor(logging.DEBUG):
        _write(record, logging.DEBUG, "connection opened")


def write(record: ConnectionRecord) -> None:
    """Write a completed connection's line, and its phases where they are asked for.

    INFO; ERROR for one that failed; WARN for one that was turned away before it was known who talks to whom.
    """
    if record.series is None and record.failed:
        level, message = logging.WARNING, "connection failed"
    else:
        level, message = logging.ERROR if record.failed else logging.INFO, "connection complete"
    if log.isEnabledFor(level):
        _write(record, level, message)
    if phase_log.isEnabledFor(logging.INFO):
        phase_log.info("connection phases", extra={"fields": phases(record)})


def _write(record: ConnectionRecord, level: int, message: str) -> None:
    # As `log.log` would, which takes twice as long to come to the same.
    line = logging.LogRecord(log.name, level, "", 0, message, None, None)
    line.connection = record
    log.handle(line)


def fields(record: ConnectionRecord) -> dict[str, Value]:
    """What the line says, in order; what is not known or does not apply is left out."""
    said: dict[str, Value] = {}
    for part in _parts(record):
        said.update(part.fields if isinstance(part, Repeated) else (part,))
    return said


def plain(record: ConnectionRecord) -> str:
    """`fields` as the plain form writes them."""
    written = [
        part.text if isinstance(part, Repeated) else plainly(part[0], part[1]) for part in _parts(record)
    ]
    return " ".join([text for text in written if text])


def _parts(record: ConnectionRecord) -> list[Field | Repeated]:
    secured, claims, service = record.mutual_tls, record.claims, record.service
    proven = record.source_identity if secured else None
    said: list[Field | Repeated] = [
        ("src.addr", authority(record.source_address)),
        _claimed(claims, proven)
        if claims is not None and record.source is None
        else _end("src", record.source, proven),
    ]
    if record.destination_address is not None:
        said.append(_destination(record.destination_address))
    if record.hbone_address:
        said.append(("dst.hbone_addr", record.hbone_address))
    if service is not None:
        said.append(("dst.service", service.hostname))
    said.append(_end("dst", record.destination, record.destination_identity if secured else None))
    said.append(_DIRECTION[record.direction])
    if record.ended_ns is not None:
        # Seen from the pod whose proxy writes the line.
        sent, received = record.bytes_sent, record.bytes_received
        if record.direction is Direction.INBOUND:
            sent, received = received, sent
        duration_ms = (record.ended_ns - record.accepted_ns) // 1_000_000
        said += ("bytes_sent", sent), ("bytes_recv", received), ("duration", f"{duration_ms}ms")
    if record.error:
        said.append(("error", record.error))
    if record.flag is not Flag.NONE:
        said.append(("flag", record.flag.value))
    if record.policy:
        said.append(("policy", record.policy))
    if record.dry_run:
        said.append(("dry_run", record.dry_run))
    if record.trace_id:
        said.append(("trace", record.trace_id))
    return said


def plainly(name: str, value: Value) -> str:
    """One field: texts are quoted and escaped, as some of them come from peers."""
    if isinstance(value, int) or name in UNQUOTED:
        return f"{name}={value}"
    return f'{name}="{value}"' if _harmless(value) else f"{name}={json.dumps(value)}"


def phases(record: ConnectionRecord) -> dict[str, Value]:
    """Phases reached, in ns since accept, and what joins them to the other proxy's."""
    found: dict[str, Value] = {
        "direction": record.direction.value,
        "src.addr": authority(record.source_address),
        "accepted_ns": record.accepted_ns,
    }
    if record.trace_id is not None:
        found["trace"] = record.trace_id
    for name in record.phases.__slots__:
        moment = getattr(record.phases, name)
        if moment is not None:
            found[name] = moment - record.accepted_ns
    return found


@lru_cache(maxsize=1024)
def _end(side: str, workload: Workload | None, identity: SpiffeId | None) -> Repeated:
    """One end of the connection, as the mesh knows it."""
    proven = (f"{side}.identity", str(identity) if identity is not None else None)
    if workload is None:
        return Repeated(proven)
    return Repeated(
        (f"{side}.workload", workload.name),
        (f"{side}.namespace", workload.namespace),
        proven,
        (f"{side}.cluster", workload.cluster),
    )


@lru_cache(maxsize=256)
def _claimed(claims: Claims, identity: SpiffeId | None) -> Repeated:
    """A source that the mesh does not know: what its proxy says, and what TLS proved."""
    return Repeated(
        ("src.workload", claims.workload_name),
        ("src.namespace", identity.namespace if identity is not None else claims.namespace),
        ("src.identity", str(identity) if identity is not None else None),
        ("src.cluster", claims.cluster),
    )


@lru_cache(maxsize=1024)
def _destination(address: SocketAddress) -> Repeated:
    return Repeated(("dst.addr", authority(address)))


_DIRECTION = {direction: Repeated(("direction", direction.value)) for direction in Direction}
