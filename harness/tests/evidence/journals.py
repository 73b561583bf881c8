"""Journals made up from first packets: each connection's steps spread evenly over the time that it took."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from harness.evidence.model import FirstPacket
from harness.evidence.sources import journal
from harness.plan.model import Configuration, SameNode
from harness.topology.model import APP_PORT, Host, Pod

ACCEPTED = "accepted_ns"
TUNNELLED = (
    *(("source", step) for step in (ACCEPTED, "original_destination_ns", "route_ns", "pool_ns")),
    *(("source", step) for step in ("tcp_ns", "tls_ns", "connect_sent_ns")),
    *(("destination", step) for step in (ACCEPTED, "policy_ns", "app_connect_ns", "answered_ns")),
    *(("source", step) for step in ("connect_ns", "first_sent_ns")),
    *(("destination", step) for step in ("first_sent_ns", "first_received_ns")),
    ("source", "first_received_ns"),
)
"""The steps of a connection through a tunnel, in the order in which they happen."""
CAPTURED = ("accepted_ns", "original_destination_ns")
CARRIED = ("first_sent_ns", "first_received_ns")


def made_up(
    configuration: Configuration, client: Pod | Host, target: Pod | Host, packets: Sequence[FirstPacket]
) -> dict[str, Any]:
    """The document of a cell with these first packets and no others, but for what opened the tunnel."""
    at, to = (member.address_of(configuration.ip_family) for member in (client, target))
    shown = f"[{at}]" if at.version == 6 else str(at)
    goal = f"[{to}]:{APP_PORT}" if to.version == 6 else f"{to}:{APP_PORT}"
    nodes = [_proxy(configuration, member) for member in (client, target)]
    rows: dict[str, list[list[Any]]] = {"a": [], "b": []}
    seen = []
    legs, streams = count(50_000), count(3, 2)
    for number, packet in enumerate(_with_primer(packets)):
        mine, leg = f"{shown}:{packet.port}", next(legs)
        beginning = packet.start_ns + (packet.connected_ns - packet.start_ns) // 2
        cold = packet.state == "cold"
        stream = None if not configuration.tunnelled else 1 if cold else next(streams)
        trace = f"{number:032x}" if configuration.tunnelled else ""
        common = {"source": mine, "target": goal, "trace": trace, "stream": stream}
        for side, node in zip(("source", "destination"), nodes, strict=True):
            handed_over = configuration.same_node is SameNode.PLAINTEXT and side == "destination"
            if node is None or handed_over:
                continue
            steps = _steps(configuration, side, cold=cold)
            gap = (packet.first_byte_ns - beginning) // (len(steps) + 1)
            stamps = {step: beginning + gap * (1 + i) for i, (on, step) in enumerate(steps) if on == side}
            if configuration.tunnelled:
                stamps["tunnel_ns"] = stamps[ACCEPTED] - 1000 if cold else packet.start_ns - 10**9
            if configuration.tunnelled and cold and side == "source":
                stamps["tunnel_ns"] = stamps["tls_ns"]
            carries = side == "destination" or not configuration.tunnelled
            last = {"own_end": f"{shown}:{leg}" if carries else ""}
            where = {**common, "source": "10.244.0.2:33333"} if trace and side == "destination" else common
            direction = {"source": "outbound", "destination": "inbound"}[side]
            rows[node].append(_row({**where, **last, "direction": direction}, stamps))
        if packet in packets:
            seen.append((packet.port, leg if any(nodes) else packet.port))
    taken = {
        node: [{"fields": journal.FIELDS, "rows": each, "lost": 0, "open": 0}] for node, each in rows.items()
    }
    return journal.collect(taken, [], seen)


def _with_primer(packets: Sequence[FirstPacket]) -> list[FirstPacket]:
    """Before warm ones a connection that leaves no sample opens their tunnel."""
    warm = [each for each in packets if each.state == "warm"]
    if not warm:
        return list(packets)
    before = min(each.start_ns for each in packets) - 10**9
    times = {name: before + i for i, name in enumerate(("start_ns", "connected_ns", "sent_ns"))}
    return [FirstPacket(state="cold", port=1, first_byte_ns=before + 10**6, **times), *packets]


def _proxy(configuration: Configuration, member: Pod | Host) -> str | None:
    if configuration.dataplane == "none" or not isinstance(member, Pod) or not member.captured:
        return None
    return member.node


def _steps(configuration: Configuration, side: str, *, cold: bool) -> list[tuple[str, str]]:
    if configuration.tunnelled:
        return [each for each in TUNNELLED if cold or each[1] not in {"tcp_ns", "tls_ns"}]
    if side == "destination":
        middle: tuple[str, ...] = ("policy_ns", "app_connect_ns")
    elif configuration.same_node is SameNode.PLAINTEXT:
        middle = ("route_ns", "policy_ns", "app_connect_ns")
    else:
        middle = ("route_ns", "tcp_ns")
    return [(side, step) for step in (*CAPTURED, *middle, *CARRIED)]


def _row(words: dict[str, Any], stamps: dict[str, int]) -> list[Any]:
    accepted = stamps.pop(ACCEPTED)
    steps = {step: moment - accepted for step, moment in stamps.items()}
    found = {"outcome": "hbone", **words, ACCEPTED: accepted, **steps}
    return [found.get(name) for name in journal.FIELDS]
