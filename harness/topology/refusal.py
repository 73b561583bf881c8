"""Whom the topology's policies refuse: a pod and a target that its identity may not reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.topology.model import Pod, PolicySpec, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A connection that must not be."""

    client: Pod
    target: Pod
    policy: str
    """The policy that says so."""


def refusal(topology: Topology) -> Refusal | None:
    """A refusal that the policies state plainly; one between two nodes where there is one.

    Plainly means: a policy that denies, for a whole namespace, one principal by its exact name and nothing
    else. None where no policy is of that form, or no such pair of captured pods exists.
    """
    found = list(_refusals(topology))
    far = [each for each in found if each.client.node != each.target.node]
    return next(iter(far or found), None)


def _refusals(topology: Topology) -> Iterator[Refusal]:
    captured = [pod for pod in topology.pods if pod.captured and not pod.client]
    for policy in topology.policies:
        principal = _refused_principal(policy)
        for client in captured:
            if client.spiffe_id == f"spiffe://{principal}":
                for target in captured:
                    if target.answers and target.namespace == policy.document["namespace"]:
                        yield Refusal(client=client, target=target, policy=policy.name)


def _refused_principal(policy: PolicySpec) -> str | None:
    if (policy.document.get("action"), policy.document.get("scope")) != ("Deny", "Namespace"):
        return None
    match policy.document.get("rules"):
        case [[[{"principals": [{"Exact": str(principal)}], **rest}]]] if not rest:
            return principal
    return None
