import json
from pathlib import Path

import pytest

from harness.controlplane.document import BadPolicy, document
from harness.topology.allocator import resolve
from harness.topology.model import HostSpec, NodeSpec, PodSpec, PolicySpec, Topology, TopologySpec

GOLDEN = Path(__file__).parent / "golden"
REFUSE_CLIENT: dict[str, object] = {
    "namespace": "bench",
    "scope": "WorkloadSelector",
    "action": "Deny",
    "rules": [[[{"principals": ["cluster.local/ns/bench/sa/client"]}]]],
    "pods": ["locked"],
}


def topology(*policies: PolicySpec, lanes: int = 1) -> Topology:
    return resolve(
        TopologySpec(
            nodes=(NodeSpec(name="a"), NodeSpec(name="b")),
            pods=(
                PodSpec(name="client", node="a", client=True),
                PodSpec(name="locked", node="a"),
                PodSpec(name="remote", node="b", service_account="web"),
                PodSpec(name="plain", node="b", captured=False),
            ),
            hosts=(HostSpec(name="outside"),),
            policies=policies,
        ),
        lanes,
    )


def test_the_document_is_the_golden_one() -> None:
    produced = document(topology(PolicySpec(name="refuse-client", document=REFUSE_CLIENT)))

    assert json.loads((GOLDEN / "mesh.json").read_text()) == produced


def test_hosts_are_unknown_to_the_mesh() -> None:
    resolved = topology()

    text = json.dumps(document(resolved))

    assert str(resolved.hosts[0].address) not in text


def test_identities_match_the_topology() -> None:
    resolved = topology()

    workloads = document(resolved)["workloads"]

    ids = [f"spiffe://{w['trustDomain']}/ns/{w['namespace']}/sa/{w['serviceAccount']}" for w in workloads]
    assert [pod.spiffe_id for pod in resolved.pods] == ids


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": None}, "scope is None; allowed: Global, Namespace, WorkloadSelector"),
        ({"action": "Audit"}, "action is 'Audit'; allowed: Allow, Deny"),
        ({"pods": []}, "WorkloadSelector needs at least one pod"),
        ({"pods": ["nobody"]}, "pods names 'nobody', which is no pod; pods: client, locked, plain, remote"),
        ({"pods": "locked"}, "expected a list of pod names"),
        ({"scope": "Namespace"}, "the other scopes take none"),
    ],
)
def test_a_policy_that_no_proxy_could_apply_is_refused(change: dict[str, object], said: str) -> None:
    policy = PolicySpec(name="p", document={**REFUSE_CLIENT, **change})

    with pytest.raises(BadPolicy, match="policy p: ") as caught:
        document(topology(policy))

    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["namespace", "scope", "action", "rules"])
def test_a_policy_without_a_needed_key_names_it(key: str) -> None:
    policy = PolicySpec(name="p", document={k: v for k, v in REFUSE_CLIENT.items() if k != key})

    with pytest.raises(BadPolicy, match=f"policy p: key '{key}' is missing"):
        document(topology(policy))


def test_a_topology_s_policy_is_not_changed() -> None:
    policy = PolicySpec(name="p", document=dict(REFUSE_CLIENT))

    document(topology(policy))

    assert policy.document == REFUSE_CLIENT
