"""Serve the certificate authorities of one run: `python3 -m harness.controlplane --rundir RUNDIR`.

Each lane is a mesh of its own and has its own root. Sockets: RUNDIR/ca/NODE/LANE/ca.sock (gRPC),
RUNDIR/controlplane/control.sock (op `status`).
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from harness.control import Reply, serve
from harness.controlplane.ca import Authority
from harness.controlplane.service import NodeService, bind_unix, server
from harness.topology.document import from_json
from harness.topology.layout import Layout
from harness.topology.model import Topology

log = logging.getLogger("harness.controlplane")


def main() -> None:
    """Start one server per node and lane, then answer control requests until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="harness.controlplane", description=__doc__)
    parser.add_argument("--rundir", type=Path, required=True)
    rundir: Path = parser.parse_args().rundir
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    layout = Layout(rundir)
    topology = from_json(layout.topology.read_text())
    lanes = range(1, topology.lanes + 1)
    authorities = {lane: Authority() for lane in lanes}
    servers = [built for lane in lanes for built in start(authorities[lane], topology, layout, lane)]
    layout.controlplane.parent.mkdir(parents=True, exist_ok=True)

    def status(_: dict[str, Any]) -> Reply:
        return Reply(
            document={
                str(lane): {"issued": authority.issued, "refused": authority.refused}
                for lane, authority in authorities.items()
            }
        )

    try:
        serve(layout.controlplane, {"status": status})
    finally:
        for built in servers:
            built.stop(grace=None)


def start(authority: Authority, topology: Topology, layout: Layout, lane: int) -> list[Any]:
    """Start a lane's servers, one per node; each signs only for the lane's pods on its node."""
    servers = []
    for node in topology.nodes:
        pods = topology.lane(lane).pods_on(node.name)
        identities = frozenset(pod.spiffe_id for pod in pods)
        path = layout.ca(node.name, lane)
        built = server(NodeService(authority, node.name, identities))
        bind_unix(built, path)
        built.start()
        path.chmod(0o600)
        log.info(
            "ca listening node=%s lane=%d identities=%d socket=%s", node.name, lane, len(identities), path
        )
        servers.append(built)
    return servers


if __name__ == "__main__":
    main()
