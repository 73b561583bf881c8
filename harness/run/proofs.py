"""What is proved once a round of each data plane, right before the counters of its first cell are read.

That policy refuses whom it has to (M34), that the proxy answers where only it can (M08), that a nonce in
clear is heard on the link between the nodes (M35), and that the load's clock is the packets' (M18). Other
cells of the round refer to it. It takes some 100 ms.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.control import Reply
from harness.evidence.sources import canary, clock, nonces, refusal
from harness.plan.model import Cell, State
from harness.results import layout
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

Put = Callable[[str, dict[str, Any], str], Reply]
"""Asks the probe process of a client pod: for which proof, with which arguments, in which pod."""
Documents = dict[str, dict[str, Any]]


class Proofs:
    """The latest round's proofs, by data plane."""

    def __init__(self, bed: Testbed, put: Put) -> None:
        self._bed = bed
        self._put = put
        self._made: dict[str, tuple[int, Documents]] = {}

    def due(self, cell: Cell) -> bool:
        """Whether the cell is the first of its round."""
        return self._made.get(cell.configuration.dataplane, (None,))[0] != cell.round

    def of(self, cell: Cell) -> tuple[Documents, bool]:
        """Source -> document, and whether they were made just now: then tunnels may be open.

        Raises:
            ControlError: A member refused or is gone.
        """
        dataplane = cell.configuration.dataplane
        if not self.due(cell):
            return self._made[dataplane][1], False
        made = self._make(cell)
        self._made[dataplane] = (cell.round, made)
        return made, True

    def forget(self) -> None:
        """Prove everything again at the next cell."""
        self._made.clear()

    def _make(self, cell: Cell) -> Documents:
        stamped, control = self._stamps(cell)
        return {
            clock.NAME: stamped,
            nonces.NAME: control,
            canary.NAME: self._canary(cell),
            refusal.NAME: self._refusal(cell),
        }

    def _stamps(self, cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
        """Connections whose packets are stamped; to a host, so that they can be read on the way."""
        client, family = self._client(), cell.configuration.ip_family
        hosts = self._bed.topology.hosts
        target: Pod | Host = hosts[0] if hosts else self._backend()
        agent = self._bed.agent(client.node)
        asked = _request(cell, client, target, target.address_of(family), APP_PORT, count=CLOCKED)
        self._bed.ask_agents("listen")
        link = agent.call("stamp", pod=client.name).document["link"]
        reply = self._put(clock.NAME, asked, client.name)
        load = _rows(reply.payload)
        stamped = agent.call("stamped", ports=[each["local_port"] for each in load]).document
        heard = self._bed.ask_agents("heard", nonce=reply.document["nonces"])
        control = (
            nonces.control(cell.name, client.node, {node: each.document for node, each in heard.items()})
            if hosts
            else nonces.no_control(cell.name, "there is no host out of the mesh to send plaintext to")
        )
        return clock.collect(cell.name, link=link, load=load, stamped=stamped), control

    def _canary(self, cell: Cell) -> dict[str, Any]:
        service, family = canary_of(self._bed.topology), cell.configuration.ip_family
        if reason := self._cannot(cell, canary.NAME):
            return canary.not_made(cell.name, reason)
        if service is None:
            return canary.not_made(cell.name, "the topology has no captured client and backend for a service")
        address = service.address_of(family)
        asked = _request(cell, service.client, service.pod, address, PORT, count=1)
        before = self._streams()
        reply = self._put(canary.NAME, asked, service.client.name)
        return canary.collect(
            cell.name,
            address=str(address),
            asked=1,
            reply=reply.document,
            streams=self._streams() - before,
        )

    def _refusal(self, cell: Cell) -> dict[str, Any]:
        wanted = refusal_of(self._bed.topology)
        if reason := self._cannot(cell, refusal.NAME):
            return refusal.not_made(cell.name, reason)
        if wanted is None:
            return refusal.not_made(cell.name, "no policy of the topology denies a pod by its name alone")
        proxy = self._bed.proxy(wanted.target.node)
        before = proxy.call("stats").document
        seen = self._bed.agent(wanted.client.node).call(
            "attempt",
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

    def _cannot(self, cell: Cell, what: str) -> str:
        """Why this data plane is not asked for something; empty where it is."""
        if cell.configuration.dataplane == "none":
            return "data plane none has no proxy"
        return self._bed.lacks.get(what, "")

    def _client(self) -> Pod:
        return next(pod for pod in self._bed.topology.pods if pod.client)

    def _backend(self) -> Pod:
        return next(pod for pod in self._bed.topology.pods if not pod.client)

    def _streams(self) -> int:
        replies = self._bed.ask_proxies("stats").values()
        return sum(int(reply.document["streams_opened"]) for reply in replies)


def _request(
    cell: Cell, client: Pod, target: Pod | Host, address: IPAddress, port: int, *, count: int
) -> dict[str, Any]:
    """Asks for new connections with one request each, as the stage of first packets does."""
    return {
        "cell": cell.name,
        "source": str(client.address_of(cell.configuration.ip_family)),
        "target": {
            "address": str(address),
            "port": port,
            "pod": target.name,
            "node": target.node if isinstance(target, Pod) else "",
        },
        "response_bytes": 0,
        "states": [{"state": State.NEW.value, "count": count, "op": "nothing"}],
        "later_requests": 0,
        "gap_ns": GAP_NS,
        "later_interval_ns": 0,
        "bench_sockets": [],
    }


def _shared(client: Pod, target: Pod, cell: Cell) -> IpFamily:
    """The cell's family where both ends have it, else IPv4, which all have."""
    family = cell.configuration.ip_family
    return family if family in client.families and family in target.families else IpFamily.IPV4


def _rows(payload: bytes) -> list[dict[str, int]]:
    fields = layout.SAMPLES["probe"][1]
    rows = np.frombuffer(payload, dtype="<i8").reshape(-1, len(fields)).tolist()
    return [dict(zip(fields, row, strict=True)) for row in rows]
