"""Reads the evidence of one bout from a running testbed, around the load: documents for each of its lanes.

    collector.start()                                  the tables are flushed, the first readings taken
    collector.listen()                                 right before the first packets are probed
    with collector.metering("probe"):                  around each stage of load
        ...
    collector.stage(1, "probe", asked, document)       after each stage, for each lane; the probe stage first
    collector.staged("probe")                          when all lanes have been told of
    documents = collector.finish()                     waits until the proxies are done, reads the rest

Agents and proxies are asked all at once, and answer in parallel. What all lanes share (nodes, hosts, the
machine) is read once, and each lane is given its part.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.control import Channel, ControlError
from harness.evidence.lanes import of_lane
from harness.evidence.sources import (
    answers,
    conntrack,
    cpu,
    generator,
    host,
    journal,
    nonces,
    rules,
    sockets,
    tunnels,
    turns,
    wire,
)

K = TypeVar("K", bound=Hashable)
Documents = dict[str, dict[str, Any]]
"""Source -> document."""

SETTLE_S = 1.0
"""How long a proxy may take to finish its books after the load's last connection was closed."""
POLL_S = 0.005

_FINISHED = tuple(f"completed_outbound_{kind}" for kind in ("hbone", "passthrough", "denied", "failed"))
_ANSWERED = tuple(f"connects_{kind}" for kind in ("accepted", "denied", "failed"))


@dataclass(slots=True, kw_only=True)
class _Lane:
    """What is read of one lane alone."""

    proxies: Mapping[str, Channel]
    """By node."""
    meter: cpu.Meter
    proved: Mapping[str, Mapping[str, Any]]
    """Source -> document; `nonces` is the listener's control, a part of the cell's own document."""
    metered: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    """Stage -> readings before and after it."""
    stages: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=dict)
    """Stage -> what was asked and what was replied."""
    heard: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    """The proxies' counters, by node."""
    probed: dict[str, Any] | None = None
    keeping: dict[str, Channel] = field(default_factory=dict)
    """Proxies that keep a journal."""
    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Collector:
    """The evidence of one bout in the making. One object per bout; the channels outlive it."""

    def __init__(
        self,
        agents: Mapping[str, Channel],
        proxies: Mapping[int, Mapping[str, Channel]],
        meters: Mapping[int, cpu.Meter],
        proved: Mapping[int, Mapping[str, Mapping[str, Any]]],
    ) -> None:
        """Take the agents' channels by node, and by lane the proxies', what reads processes, and proofs."""
        self._agents = agents
        self._lanes = {
            lane: _Lane(proxies=channels, meter=meters[lane], proved=proved[lane])
            for lane, channels in proxies.items()
        }
        self._counters: dict[str, Any] = {}
        self._host: dict[str, Any] = {}

    def start(self) -> None:
        """Flush the connection tracking tables and take the first readings.

        Call it with no tunnel and no connection open: what goes on after the flush makes entries anew, so
        the proxies are given time to finish their books of what was before.

        Raises:
            ControlError: An agent or a proxy refused or does not answer.
        """
        settled(self._proxies())
        numbers = list(self._lanes)
        _ask(self._agents, "conntrack-flush", lanes=numbers)
        self._counters = _namespaces(_ask(self._agents, "counters", lanes=numbers))
        for (number, node), stats in _ask(self._proxies(), "stats").items():
            lane = self._lanes[number]
            lane.before[node] = stats
            if journal.NAME not in stats.get("unproven", ()):
                lane.keeping[node] = lane.proxies[node]
        _ask(self._keeping(), "journal", room=journal.ROOM)
        self._host = host.sample()

    def listen(self) -> None:
        """Let the agents keep what arrives on the nodes' links, until the first stage is done.

        Raises:
            ControlError: An agent refused or does not answer.
        """
        _ask(self._agents, "listen")

    @contextmanager
    def metering(self, name: str) -> Iterator[None]:
        """Read what the processes have used right before and right after the block."""
        before = {number: lane.meter.sample() for number, lane in self._lanes.items()}
        yield
        for number, lane in self._lanes.items():
            lane.metered[name] = (before[number], lane.meter.sample())

    def stage(self, lane: int, name: str, asked: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """Note what the load process was asked of a lane and what it replied, right after it did."""
        self._lanes[lane].stages[name] = (asked, reply)

    def staged(self, name: str) -> None:
        """All lanes have been told of; after the probe stage, take what it left behind.

        Raises:
            ControlError: An agent or a proxy refused or does not answer.
        """
        if name != answers.PROBE:
            return
        prefixes = {number: lane.stages[name][1]["nonces"] for number, lane in self._lanes.items()}
        heard = _ask(self._agents, "heard", nonces=list(prefixes.values()))
        for number, lane in self._lanes.items():
            lane.heard = {node: told[prefixes[number]] for node, told in heard.items()}
        for (number, node), stats in settled(self._proxies()).items():
            lane = self._lanes[number]
            lane.probed = {**(lane.probed or {}), node: stats}
        self._take_journals()

    def finish(self) -> dict[int, Documents]:
        """Take the last readings.

        Returns:
            Lane -> source -> document, as they are saved with the lane's cell.

        Raises:
            ControlError: An agent or a proxy refused or does not answer.
        """
        host_after = host.sample()
        after: dict[int, dict[str, Any]] = {number: {} for number in self._lanes}
        for (number, node), stats in settled(self._proxies()).items():
            after[number][node] = stats
        numbers = list(self._lanes)
        counters = _namespaces(_ask(self._agents, "counters", lanes=numbers))
        dump = _namespaces(_ask(self._agents, "conntrack-dump", lanes=numbers))
        if any(answers.PROBE not in lane.stages for lane in self._lanes.values()):
            self._take_journals()
        return {
            number: self._documents(
                number, lane, after=after[number], counters=counters, dump=dump, host_after=host_after
            )
            for number, lane in self._lanes.items()
        }

    def _documents(
        self,
        number: int,
        lane: _Lane,
        *,
        after: Mapping[str, Any],
        counters: Mapping[str, Any],
        dump: Mapping[str, Any],
        host_after: dict[str, Any],
    ) -> Documents:
        first, last = of_lane(self._counters, number), of_lane(counters, number)
        _, probed = lane.stages.get(answers.PROBE, ({}, {}))
        own = {name: entries for name, entries in dump.items() if name in last}
        return {
            **{name: dict(document) for name, document in lane.proved.items()},
            answers.NAME: answers.collect(lane.stages),
            conntrack.NAME: conntrack.collect(first, own),
            cpu.NAME: cpu.collect(lane.metered, probed.get("usage", {})),
            generator.NAME: generator.collect({name: reply for name, (_, reply) in lane.stages.items()}),
            host.NAME: host.collect(self._host, host_after),
            journal.NAME: journal.collect(
                lane.taken, sorted(set(lane.proxies) - set(lane.keeping)), probed.get("seen_ports", ())
            ),
            nonces.NAME: nonces.collect(lane.heard, lane.proved[nonces.NAME]),
            rules.NAME: rules.collect(first, last),
            sockets.NAME: sockets.collect(first, last),
            turns.NAME: turns.collect({name: reply for name, (_, reply) in lane.stages.items()}),
            tunnels.NAME: tunnels.collect(lane.before, lane.probed or lane.before, after),
            wire.NAME: wire.collect(first, last),
        }

    def _proxies(self) -> dict[tuple[int, str], Channel]:
        return {
            (number, node): channel
            for number, lane in self._lanes.items()
            for node, channel in lane.proxies.items()
        }

    def _keeping(self) -> dict[tuple[int, str], Channel]:
        return {
            (number, node): channel
            for number, lane in self._lanes.items()
            for node, channel in lane.keeping.items()
        }

    def _take_journals(self) -> None:
        """Take them once every connection of theirs has ended, or after `SETTLE_S`, and switch them off."""
        deadline = time.monotonic() + SETTLE_S
        keeping = self._keeping()
        for number, node in keeping:
            self._lanes[number].taken[node] = []
        while True:
            replies = _ask(keeping, "take-journal")
            for (number, node), reply in replies.items():
                self._lanes[number].taken[node].append(reply)
            if not any(reply["open"] for reply in replies.values()) or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        _ask(keeping, "journal", room=0)


def settled(proxies: Mapping[K, Channel]) -> dict[K, Any]:
    """The proxies' counters once every connection is accounted for, or as they are after `SETTLE_S`."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        stats = _ask(proxies, "stats")
        if all(map(_at_rest, stats.values())) or time.monotonic() > deadline:
            return stats
        time.sleep(POLL_S)


def _ask(channels: Mapping[K, Channel], op: str, **arguments: object) -> dict[K, Any]:
    for channel in channels.values():
        channel.send(op, **arguments)
    documents: dict[K, Any] = {}
    errors: list[ControlError] = []
    for name, channel in channels.items():  # all of them, or the next question would get this one's answer
        try:
            documents[name] = channel.receive().document
        except ControlError as exc:
            errors.append(exc)
    if errors:
        raise errors[0]
    return documents


def _namespaces(replies: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content for reply in replies.values() for name, content in reply["namespaces"].items()}


def _at_rest(stats: Mapping[str, Any]) -> bool:
    outbound = sum(stats[counter] for counter in _FINISHED)
    inbound = sum(stats[counter] for counter in _ANSWERED)
    return bool(outbound == stats["accepted_outbound"] and inbound == stats["connects_received"])
