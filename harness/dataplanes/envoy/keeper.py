"""A lane's books on a node where Envoy is the data plane: `python3 -m harness.dataplanes.envoy.keeper`.

Envoy runs once per pod and knows nothing of the bench. The keeper answers what the lane's proxy would:
`hello`, `stats` and `configure` on its control socket, `drop-tunnels` and `nothing` on its bench socket, by
asking each Envoy of the node.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.control import Refused, Reply, serve
from harness.dataplanes.envoy import ONLY, files
from harness.dataplanes.envoy.admin import Admin
from harness.dataplanes.envoy.books import FILTER, UNPROVEN, books
from harness.dataplanes.envoy.bootstrap import discovery
from harness.topology.document import from_json
from harness.topology.layout import Layout
from harness.topology.model import Pod, Topology

DROP_TIMEOUT_S = 2.0
POLL_S = 0.002
OFFERS = {switch: ONLY[switch] for switch in ("reuse", "same_node", "streams_per_tunnel", "window_kib")}
"""What other data planes can switch, and the only position that Envoy knows."""
UPDATES = "cluster_manager.cds.update_success"


class Sidecar:
    """One pod's Envoy."""

    def __init__(self, layout: Layout, topology: Topology, pod: Pod) -> None:
        self._topology = topology
        self._pod = pod
        self._files = files.of(layout, topology, pod)
        self._admin = Admin(self._files.admin)
        self._version = 0
        self._admin.await_ready()

    def version(self) -> str:
        """Its version, in its own words."""
        return self._admin.version()

    def counters(self) -> Mapping[str, int]:
        """What it has counted."""
        return self._admin.counters(FILTER)

    def leave_tunnels(self) -> int:
        """Have it make its clusters anew, which ends their tunnels; the number of updates to wait for."""
        self._version += 1
        seen = self._admin.counters(UPDATES)[UPDATES]
        files.replace(self._files.clusters, discovery(self._pod, self._topology, self._version))
        return seen + 1

    def updated(self, updates: int) -> bool:
        """Whether it has taken so many updates in."""
        return self._admin.counters(UPDATES)[UPDATES] >= updates


class Keeper:
    """All Envoys of one node. Operations take turns."""

    def __init__(self, sidecars: list[Sidecar]) -> None:
        self._sidecars = sidecars
        self._turn = threading.Lock()

    def hello(self, _: dict[str, Any]) -> Reply:
        """Which Envoy this is; all of a node are one program."""
        with self._turn:
            return Reply(document={"envoy": self._sidecars[0].version()} if self._sidecars else {})

    def stats(self, _: dict[str, Any]) -> Reply:
        """The node's counters."""
        with self._turn:
            return Reply(document={**self._books(), "unproven": list(UNPROVEN), **OFFERS})

    def configure(self, arguments: dict[str, Any]) -> Reply:
        """Agree to what Envoy does anyway, refuse everything else."""
        for switch, position in arguments.items():
            if OFFERS.get(switch) != position:
                known = ", ".join(f"{name} = {value}" for name, value in OFFERS.items())
                raise Refused(f"{switch} = {position!r}: Envoy as configured here knows only {known}")
        return Reply(document=dict(OFFERS))

    def drop_tunnels(self, _: dict[str, Any]) -> Reply:
        """End every tunnel that an Envoy of this node has opened, and wait until none is left."""
        with self._turn:
            holding = [each for each in self._sidecars if books([each.counters()])["tunnels_outbound"]]
            awaited = [(each, each.leave_tunnels()) for each in holding]
            deadline = time.monotonic() + DROP_TIMEOUT_S
            while time.monotonic() < deadline:
                # an update still under way would end the next tunnel too
                if all(each.updated(updates) for each, updates in awaited) and not any(
                    self._tunnels().values()
                ):
                    break
                time.sleep(POLL_S)
            return Reply(document=self._tunnels())

    def nothing(self, _: dict[str, Any]) -> Reply:
        """What is there, at the cost of a look."""
        with self._turn:
            return Reply(document=self._tunnels())

    def _books(self) -> dict[str, int]:
        return books([each.counters() for each in self._sidecars])

    def _tunnels(self) -> dict[str, int]:
        counted = self._books()
        return {name: counted[name] for name in ("tunnels_outbound", "tunnels_inbound")}


def main() -> None:
    """Wait for the node's Envoys, then answer until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="harness.dataplanes.envoy.keeper", description=__doc__)
    parser.add_argument("--node", required=True)
    parser.add_argument("--lane", type=int, required=True)
    parser.add_argument("--rundir", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    layout = Layout(arguments.rundir)
    topology = from_json(layout.topology.read_text()).lane(arguments.lane)
    pods = [pod for pod in topology.pods_on(arguments.node) if pod.captured]
    keeper = Keeper([Sidecar(layout, topology, pod) for pod in pods])
    bench = {"drop-tunnels": keeper.drop_tunnels, "nothing": keeper.nothing}
    threading.Thread(
        target=serve,
        args=(layout.bench(arguments.node, arguments.lane), bench),
        kwargs={"at_once": True},
        daemon=True,
    ).start()
    control = {"hello": keeper.hello, "stats": keeper.stats, "configure": keeper.configure}
    serve(layout.proxy(arguments.node, arguments.lane), control, at_once=True)


if __name__ == "__main__":
    main()
