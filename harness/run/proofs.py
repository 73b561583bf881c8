"""What is proved of each lane in each round, right before the counters of its first bout are read.

That policy refuses whom it has to (M34), that the proxy answers where only it can (M08), that a nonce in
clear is heard on the link between the nodes (M35), and that the load's clock is the packets' (M18). A lane
that carries another configuration later in the round is proved again. It takes some 100 ms a lane.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.control import Reply
from harness.evidence.sources import canary, clock, nonces, refusal
from harness.load.split import split
from harness.plan.model import Cell, State
from harness.results import layout
from harness.run.asks import Ask, Target, Way
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed
from harness.topology.canary import PORT
from harness.topology.canary import canary as canary_of
from harness.topology.model import APP_PORT, Host, IPAddress, IpFamily, Pod
from harness.topology.refusal import refusal as refusal_of

CLOCKED = 30
"""Connections whose packets are stamped: enough for a median, over in 50 ms."""
GAP_NS = 1_000_000
"""Between two of them: one wait for a processor shall not meet them all."""
SETTLE_S = 1.0
"""How long a proxy may take to count a refusal after the client has seen it."""
POLL_S = 0.002

Put = Callable[[Ask], Reply]
"""Asks the probe process."""
Documents = dict[str, dict[str, Any]]
Proved = tuple[int, Placement, IpFamily]
"""What proofs hold for: a round, what the lane carries, and the family that is dialled."""


class Proofs:
    """The latest proofs, by lane."""

    def __init__(self, bed: Testbed, put: Put) -> None:
        self._bed = bed
        self._put = put
        self._made: dict[int, tuple[Proved, Documents]] = {}

    def forget(self) -> None:
        """Prove everything again at the next bout."""
        self._made.clear()

    def of(self, way: Way) -> Documents:
        """Source -> document, proved now where the lane's configuration has not been proved in this round.

        Raises:
            ControlError: A member refused or is gone.
        """
        lane, cell = way.lane, way.cell
        proved = cell.round, lane.placement, cell.configuration.ip_family
        earlier = self._made.get(lane.number)
        if earlier is not None and earlier[0] == proved:
            return earlier[1]
        level, filler_rules = lane.placement.interception, lane.placement.filler_rules
        if filler_rules:  # they lie between the stamp and the load on the way back alone
            lane.capture(level)
        # a port that an older entry of the table holds would become another one on its way
        self._bed.ask_agents("conntrack-flush", lanes=[lane.number])
        made = self._make(way)
        if filler_rules:
            lane.capture(level, filler_rules)
        self._made[lane.number] = proved, made
        return made

    def _make(self, way: Way) -> Documents:
        stamped, control = self._stamps(way)
        return {
            clock.NAME: stamped,
            nonces.NAME: control,
            canary.NAME: self._canary(way),
            refusal.NAME: self._refusal(way),
        }

    def _stamps(self, way: Way) -> tuple[dict[str, Any], dict[str, Any]]:
        """Connections whose packets are stamped; to a host, so that they can be read on the way."""
        cell, source, lane = way.cell, way.source, way.lane
        hosts = lane.topology.hosts
        target: Pod | Host = hosts[0] if hosts else next(pod for pod in lane.topology.pods if pod.answers)
        agent = self._bed.agent(source.node)
        self._bed.ask_agents("listen")
        link = agent.call("stamp", lane=lane.number, pod=source.name).document["link"]
        address = target.address_of(cell.configuration.ip_family)
        reply = self._ask(clock.NAME, way, target, address, APP_PORT, count=CLOCKED)
        load = _rows(reply.payload)
        stamped = agent.call("stamped", ports=[row["local_port"] for row in load]).document
        sent = reply.document["nonces"]
        heard = self._bed.ask_agents("heard", nonces=[sent])
        control = (
            nonces.control(
                cell.name, source.node, {node: told.document[sent] for node, told in heard.items()}
            )
            if hosts
            else nonces.no_control(cell.name, "there is no host out of the mesh to send plaintext to")
        )
        return clock.collect(cell.name, link=link, load=load, stamped=stamped), control

    def _canary(self, way: Way) -> dict[str, Any]:
        cell, service = way.cell, canary_of(way.lane.topology)
        if reason := _cannot(way, canary.NAME):
            return canary.not_made(cell.name, reason)
        if service is None:
            return canary.not_made(cell.name, "the topology has no captured client and backend for a service")
        if service.client != way.source:
            return canary.not_made(cell.name, f"it is sent by {service.client.name}, not {way.source.name}")
        address = service.address_of(cell.configuration.ip_family)
        before = _streams(way)
        reply = self._ask(canary.NAME, way, service.pod, address, PORT, count=1)
        return canary.collect(
            cell.name,
            address=str(address),
            asked=1,
            reply=reply.document,
            streams=_streams(way) - before,
        )

    def _refusal(self, way: Way) -> dict[str, Any]:
        cell, lane, wanted = way.cell, way.lane, refusal_of(way.lane.topology)
        if reason := _cannot(way, refusal.NAME):
            return refusal.not_made(cell.name, reason)
        if wanted is None:
            return refusal.not_made(cell.name, "no policy of the topology denies a pod by its name alone")
        proxy = lane.proxy(wanted.target.node)
        before = proxy.call("stats").document
        seen = self._bed.agent(wanted.client.node).call(
            "attempt",
            lane=lane.number,
            pod=wanted.client.name,
            address=str(wanted.target.address_of(_shared(wanted.client, wanted.target, cell))),
            port=APP_PORT,
            nonce=secrets.token_hex(12),
        )
        deadline = time.monotonic() + SETTLE_S
        while True:
            after = proxy.call("stats").document
            counted = all(after[name] > before[name] for name in ("connects_denied", "flagged_deny"))
            if counted or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        return refusal.collect(
            cell.name,
            client=wanted.client.name,
            target=wanted.target.name,
            policy=wanted.policy,
            seen=seen.document,
            before=before,
            after=after,
        )

    def _ask(
        self, what: str, way: Way, target: Target, address: IPAddress, port: int, *, count: int
    ) -> Reply:
        """New connections with one request each, as the stage of first packets makes them, on one lane."""
        lane = {
            **way.document(target, address, port),
            "states": [{"state": State.NEW.value, "count": count, "op": "nothing"}],
        }
        asked = {
            "bout": way.cell.name,
            "seed": what,
            "lanes": [lane],
            "response_bytes": 0,
            "later_requests": 0,
            "gap_ns": GAP_NS,
            "later_interval_ns": 0,
        }
        reply = self._put(Ask(stage=what, op="probe", arguments=asked))
        return split(reply)[way.lane.number]


def _cannot(way: Way, what: str) -> str:
    """Why a lane's data plane is not asked for something; empty where it is."""
    if way.cell.configuration.dataplane == "none":
        return "data plane none has no proxy"
    return way.lane.lacks.get(what, "")


def _streams(way: Way) -> int:
    replies = way.lane.ask_proxies("stats").values()
    return sum(int(reply.document["streams_opened"]) for reply in replies)


def _shared(client: Pod, target: Pod, cell: Cell) -> IpFamily:
    """The cell's family where both ends have it, else IPv4, which all have."""
    family = cell.configuration.ip_family
    return family if family in client.families and family in target.families else IpFamily.IPV4


def _rows(payload: bytes) -> list[dict[str, int]]:
    fields = layout.SAMPLES["probe"][1]
    rows = np.frombuffer(payload, dtype="<i8").reshape(-1, len(fields)).tolist()
    return [dict(zip(fields, row, strict=True)) for row in rows]
