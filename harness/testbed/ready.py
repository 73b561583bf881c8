"""Ready means: every pod answers a real round trip through its own path, not that a process runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.control import Channel
from harness.errors import RunFailed
from harness.testbed.channels import in_turn
from harness.topology.model import APP_PORT, Host, IpFamily, Pod, Topology

DEADLINE_S = 8.0


class NotReady(RunFailed):
    """A pod does not answer; the message says which, from where, and what happened."""


def check(lanes: Sequence[Topology], agent: Callable[[str], Channel]) -> None:
    """Have the agents request once from each client pod, over each of its families, to what it has to reach.

    Args:
        lanes: The views of the lanes to look at; all are looked at together.
        agent: The control channel to a node's agent.

    Raises:
        NotReady: Someone did not answer within the deadline.
    """
    for family in IpFamily:
        clients: dict[str, list[tuple[Topology, Pod]]] = {}
        for topology in lanes:
            for pod in topology.pods:
                if pod.client and family in pod.families:
                    clients.setdefault(pod.node, []).append((topology, pod))
        requests = [
            (agent(node), "reach", {"asked": [_asked(topology, pod, family) for topology, pod in of_node]})
            for node, of_node in clients.items()
        ]
        for of_node, reply in zip(clients.values(), in_turn(requests), strict=True):
            for (_, pod), results in zip(of_node, reply.document["results"], strict=True):
                _judge(pod, family, results)


def _asked(topology: Topology, client: Pod, family: IpFamily) -> dict[str, Any]:
    return {"lane": client.lane, "pod": client.name, **request(topology, client, family)}


def _judge(client: Pod, family: IpFamily, results: Mapping[str, str]) -> None:
    failed = "; ".join(f"{name}: {result}" for name, result in results.items() if result != "ok")
    if failed:
        raise NotReady(
            f"from pod {client.name} of lane {client.lane}, no {family.value} round trip within "
            f"{DEADLINE_S:g} s to {failed}"
        )


def request(topology: Topology, client: Pod, family: IpFamily = IpFamily.IPV4) -> dict[str, Any]:
    """What a client pod of a lane's view is asked to try (`harness.agent.roundtrip`).

    A captured client reaches every pod with a backend and every host. One outside the mesh is asked for
    the hosts alone: a pod whose policy is STRICT refuses it, and rightly.
    """
    targets: list[Pod | Host] = []
    if client.captured:
        targets += [pod for pod in topology.pods if pod.answers]
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
