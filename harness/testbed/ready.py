"""Ready means: every pod answers a real round trip through its own path, not that a process runs."""

from __future__ import annotations

import json
from typing import Any

from harness.engines.api import Engine
from harness.errors import RunFailed
from harness.topology.model import APP_PORT, Host, IpFamily, Pod, Topology

DEADLINE_S = 8.0


class NotReady(RunFailed):
    """A pod does not answer; the message says which, from where, and what happened."""


def check(engine: Engine, topology: Topology) -> None:
    """Request once from each client pod, over each of its families, to what it has to reach.

    Raises:
        NotReady: Someone did not answer within the deadline.
    """
    ways = [(pod, family) for pod in topology.pods if pod.client for family in pod.families]
    for client, family in ways:
        asked = request(topology, client, family)
        command = ["python3", "-m", "harness.load.roundtrip", json.dumps(asked)]
        done = engine.execute(f"probe-{client.name}", command)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise NotReady(f"round trips from pod {client.name}: {said[-1] if said else done.returncode}")
        results: dict[str, str] = json.loads(done.stdout)
        failed = {name: result for name, result in results.items() if result != "ok"}
        if failed:
            shown = "; ".join(f"{name}: {result}" for name, result in failed.items())
            raise NotReady(
                f"from pod {client.name}, no {family.value} round trip within {DEADLINE_S:g} s to {shown}"
            )


def request(topology: Topology, client: Pod, family: IpFamily = IpFamily.IPV4) -> dict[str, Any]:
    """What a client pod is asked to try (`harness.load.roundtrip`).

    A captured client reaches every pod with a backend and every host. One outside the mesh is asked for
    the hosts alone: a pod whose policy is STRICT refuses it, and rightly.
    """
    targets: list[Pod | Host] = []
    if client.captured:
        targets += [pod for pod in topology.pods if not pod.client]
    targets += topology.hosts
    return {
        "deadline_s": DEADLINE_S,
        "targets": [
            {
                "name": target.name,
                "node": target.node if isinstance(target, Pod) else "",
                "address": str(target.address_of(family)),
                "port": APP_PORT,
            }
            for target in targets
            if family in target.families
        ],
    }
