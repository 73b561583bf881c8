"""Serve the certificate authority of one run: `python3 -m harness.controlplane --rundir RUNDIR`.

Sockets: RUNDIR/ca/NODE/ca.sock (gRPC, one per node), RUNDIR/controlplane/control.sock (op `status`).
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
from harness.topology.model import Topology

log = logging.getLogger("harness.controlplane")


def main() -> None:
    """Start one server per node, then answer control requests until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="harness.controlplane", description=__doc__)
    parser.add_argument("--rundir", type=Path, required=True)
    rundir: Path = parser.parse_args().rundir
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    topology = from_json((rundir / "topology.json").read_text())
    authority = Authority()
    servers = start(authority, topology, rundir)
    control = rundir / "controlplane" / "control.sock"
    control.parent.mkdir(parents=True, exist_ok=True)

    def status(_: dict[str, Any]) -> Reply:
        return Reply(document={"issued": authority.issued, "refused": authority.refused})

    try:
        serve(control, {"status": status})
    finally:
        for built in servers:
            built.stop(grace=None)


def start(authority: Authority, topology: Topology, rundir: Path) -> list[Any]:
    """Start every node's server; each signs only for the pods on its node."""
    servers = []
    for node in topology.nodes:
        identities = frozenset(pod.spiffe_id for pod in topology.pods_on(node.name))
        path = rundir / "ca" / node.name / "ca.sock"
        built = server(NodeService(authority, node.name, identities))
        bind_unix(built, path)
        built.start()
        path.chmod(0o600)
        log.info("ca listening node=%s identities=%d socket=%s", node.name, len(identities), path)
        servers.append(built)
    return servers


if __name__ == "__main__":
    main()
