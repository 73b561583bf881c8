"""Each first packet met what its label says, by the proxies' own account of that very connection (M04)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.evidence.case import Case
from harness.evidence.joined import OUTBOUND, Joined, join
from harness.evidence.laws import Law, Outcome, at_least, equal, judge, not_applicable
from harness.evidence.sources.journal import Entry

JOIN_RATE = 0.999
"""Least share of first packets whose connection has to be found again at every hop."""


def check(case: Case) -> Outcome:
    """Cold ones had a tunnel with a handshake of their own at both proxies, warm ones an older one, new none.

    All had a new connection, accepted within the sample's time, and later requests opened none.
    """
    if case.journal.unproven & {case.outbound_proxy, case.inbound_proxy}:
        return not_applicable(f"{case.configuration.dataplane} keeps no times of single connections")
    if not case.first_packets:
        return not_applicable("this cell probes no first packets")
    joined = join(case)
    total = len(joined)
    whole = [each for each in joined if not each.broken]
    broken = ", ".join(sorted({each.broken for each in joined if each.broken}))
    laws = [
        at_least(
            "first packets found at every hop",
            len(whole),
            math.ceil(JOIN_RATE * total),
            f"of {total}" + (f"; lost at: {broken}" if broken else ""),
        ),
        *_labels(whole),
    ]
    if case.outbound_proxy is not None:
        laws.append(_others(case, joined))
    return judge(laws)


def _labels(whole: Sequence[Joined]) -> list[Law]:
    laws = []
    for state in dict.fromkeys(each.packet.state for each in whole):
        group = [each for each in whole if each.packet.state == state]
        met = [_met(each) for each in group]
        laws.append(
            equal(f"{state} first packets that were {state}", met.count(state), len(group), "labelled so")
        )
    return laws


def _met(joined: Joined) -> str:
    """The state that the proxies saw; a word of its own where the two disagree."""
    words = {_tunnel(joined, entry) for entry in (joined.source, joined.destination) if entry is not None}
    return words.pop() if len(words) == 1 else "disputed" if words else "new"


def _tunnel(joined: Joined, entry: Entry) -> str:
    shaken_ns = entry.stamps.get("tunnel_ns")
    if shaken_ns is None:
        return "new"
    return "cold" if entry.stream == 1 and shaken_ns >= joined.packet.start_ns else "warm"


def _others(case: Case, joined: Sequence[Joined]) -> Law:
    """Later requests travel on the connection whose first packet was probed: none is opened for them."""
    node = str(case.outbound_proxy)
    client = str(case.client.address_of(case.configuration.ip_family))
    targets = {str(end.address_of(case.configuration.ip_family)) for end in (case.target, *case.targets)}
    of_client = [
        each
        for each in case.journal.book(node).entries
        if each.direction == OUTBOUND and _host(each.source) == client and _host(each.target) in targets
    ]
    known = {each.source.source for each in joined if each.source is not None}
    beside = [each for each in of_client if each.source not in known]
    primed = any(each.packet.state == "warm" for each in joined)
    return equal(
        "connections beside the first packets'",
        len(beside),
        int(primed),
        "the one that opened the tunnel for warm ones" if primed else "later requests open none",
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")
