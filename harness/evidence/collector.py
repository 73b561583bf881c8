"""Reads the evidence of one cell from a running testbed, around the load.

    collector.start()                                  the tables are flushed, the first readings taken
    collector.listen()                                 right before the first packets are probed
    with collector.metering("probe"):                  around each stage of load
        ...
    collector.stage("probe", asked, reply.document)    after each stage of load; the probe stage first
    documents = collector.finish()                     waits until the proxies are done, reads the rest

Agents and proxies are asked all at once, and answer in parallel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.control import Channel, ControlError
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
    wire,
)

SETTLE_S = 1.0
"""How long a proxy may take to finish its books after the load's last connection was closed."""
POLL_S = 0.005

_FINISHED = tuple(f"completed_outbound_{kind}" for kind in ("hbone", "passthrough", "denied", "failed"))
_ANSWERED = tuple(f"connects_{kind}" for kind in ("accepted", "denied", "failed"))


class Collector:
    """The evidence of one cell in the making. One object per cell; the channels outlive it."""

    def __init__(
        self,
        agents: Mapping[str, Channel],
        proxies: Mapping[str, Channel],
        meter: cpu.Meter,
        proved: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Take the control channels of all agents and all proxies, by node, what reads processes, and proofs.

        Of `proved`, documents by source, `nonces` is the listener's control: part of the cell's document.
        """
        self._agents = agents
        self._proxies = proxies
        self._meter = meter
        self._metered: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._proved = proved
        self._heard: dict[str, Any] = {}
        self._counters: dict[str, Any] = {}
        self._stats: dict[str, Any] = {}
        self._probed: dict[str, Any] | None = None
        self._keeping: dict[str, Channel] = {}
        self._taken: dict[str, list[dict[str, Any]]] = {}
        self._host: dict[str, Any] = {}
        self._stages: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}

    def start(self) -> None:
        """Flush the connection tracking tables and take the first readings.

        Call it with no tunnel and no connection open: what goes on after the flush makes entries anew, so
        the proxies are given time to finish their books of what was before.

        Raises:
            ControlError: An agent or a proxy refused or does not answer.
        """
        settled(self._proxies)
        _ask(self._agents, "conntrack-flush")
        self._counters = _namespaces(_ask(self._agents, "counters"))
        self._stats = _ask(self._proxies, "stats")
        self._keeping = {
            node: channel
            for node, channel in self._proxies.items()
            if journal.NAME not in self._stats[node].get("unproven", ())
        }
        _ask(self._keeping, "journal", room=journal.ROOM)
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
        before = self._meter.sample()
        yield
        self._metered[name] = (before, self._meter.sample())

    def stage(self, name: str, asked: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """Note what a load process was asked and what it replied, right after it did."""
        self._stages[name] = (asked, reply)
        if name == answers.PROBE:
            self._heard = _ask(self._agents, "heard", nonce=reply["nonces"])
            self._probed = settled(self._proxies)
            self._take_journals()

    def finish(self) -> dict[str, dict[str, Any]]:
        """Take the last readings.

        Returns:
            Source -> document, as they are saved with the cell.

        Raises:
            ControlError: An agent or a proxy refused or does not answer.
        """
        host_after = host.sample()
        stats = settled(self._proxies)
        counters = _namespaces(_ask(self._agents, "counters"))
        dump = _namespaces(_ask(self._agents, "conntrack-dump"))
        if answers.PROBE not in self._stages:
            self._take_journals()
        probed = self._stages.get(answers.PROBE, ({}, {}))[1]
        replies = {name: reply for name, (_, reply) in self._stages.items() if name != answers.PROBE}
        return {
            **{name: dict(document) for name, document in self._proved.items()},
            answers.NAME: answers.collect(self._stages),
            conntrack.NAME: conntrack.collect(self._counters, dump),
            cpu.NAME: cpu.collect(self._metered, self._first_usage()),
            generator.NAME: generator.collect(replies),
            host.NAME: host.collect(self._host, host_after),
            journal.NAME: journal.collect(
                self._taken, sorted(set(self._proxies) - set(self._keeping)), probed.get("seen_ports", ())
            ),
            nonces.NAME: nonces.collect(self._heard, self._proved[nonces.NAME]),
            rules.NAME: rules.collect(self._counters, counters),
            sockets.NAME: sockets.collect(self._counters, counters),
            tunnels.NAME: tunnels.collect(self._stats, self._probed or self._stats, stats),
            wire.NAME: wire.collect(self._counters, counters),
        }

    def _first_usage(self) -> Mapping[str, Any]:
        """What the proxies told the probe of their own use, by state; nothing where they do not say."""
        if answers.PROBE not in self._stages:
            return {}
        usage: Mapping[str, Any] = self._stages[answers.PROBE][1].get("usage", {})
        return usage

    def _take_journals(self) -> None:
        """Take them once every connection of theirs has ended, or after `SETTLE_S`, and switch them off."""
        deadline = time.monotonic() + SETTLE_S
        self._taken = {node: [] for node in self._keeping}
        while True:
            replies = _ask(self._keeping, "take-journal")
            for node, reply in replies.items():
                self._taken[node].append(reply)
            if not any(reply["open"] for reply in replies.values()) or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        _ask(self._keeping, "journal", room=0)


def settled(proxies: Mapping[str, Channel]) -> dict[str, Any]:
    """The proxies' counters once every connection is accounted for, or as they are after `SETTLE_S`."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        stats = _ask(proxies, "stats")
        if all(_at_rest(each) for each in stats.values()) or time.monotonic() > deadline:
            return stats
        time.sleep(POLL_S)


def _ask(channels: Mapping[str, Channel], op: str, **arguments: object) -> dict[str, Any]:
    for channel in channels.values():
        channel.send(op, **arguments)
    documents: dict[str, Any] = {}
    errors: list[ControlError] = []
    for node, channel in channels.items():  # all of them, or the next question would get this one's answer
        try:
            documents[node] = channel.receive().document
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
