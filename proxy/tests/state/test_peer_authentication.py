"""T61: STRICT and PERMISSIVE by mesh, workload and port, in the forms that Istio converts them to.

Cases of Istio's TestPeerAuthentication; forms of its convertPeerAuthentication (pilot, ambient
authorization.go): what is STRICT arrives as a DENY of those without identity.
"""

from __future__ import annotations

from typing import Any

import pytest

from proxy.rbac import evaluate
from proxy.tests.state.test_document import POLICY, SOMEBODY, WORKLOAD, read

STRICT_MESH = "istio-system/istio_converted_static_strict"
BY_PORT = "bench/converted_peer_authentication_ports"
NOBODY: dict[str, Any] = {"notPrincipals": [{"Presence": []}]}
ALL = {80, 8080, 9090}


def denying(key: str, *rules: Any) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    return {**POLICY, "name": name, "namespace": namespace, "rules": list(rules)}


STATIC = denying(STRICT_MESH, [[NOBODY]])


def but_on(*ports: int) -> dict[str, Any]:
    """STRICT but on some ports: one rule, all of whose clauses must hold."""
    return denying(BY_PORT, [[NOBODY], *([{"notDestinationPorts": [port]}] for port in ports)])


def only_on(*ports: int) -> dict[str, Any]:
    """STRICT on some ports: a rule for each. In one rule, several would never hold together."""
    return denying(BY_PORT, *([[{**NOBODY, "destinationPorts": [port]}]] for port in ports))


@pytest.mark.parametrize(
    ("policies", "listed", "plaintext"),
    [
        ([], [], ALL),
        ([STATIC], [], ALL),
        ([STATIC], [STRICT_MESH], set()),
        ([STATIC, but_on(80)], [BY_PORT], {80}),
        ([STATIC, but_on(80, 8080)], [BY_PORT], {80, 8080}),
        ([STATIC, only_on(80)], [BY_PORT], {8080, 9090}),
        ([STATIC, only_on(80, 8080)], [BY_PORT], {9090}),
        ([STATIC, but_on(80)], [STRICT_MESH, BY_PORT], set()),
        ([STATIC], [BY_PORT], set()),
    ],
    ids=[
        "permissive",
        "the static policy is for those that list it",
        "strict",
        "strict-permissive-ports",
        "strict with two permissive ports",
        "global-permissive-strict-workload-ports",
        "two strict ports",
        "strict wins over an exception beside it",
        "the policy by port is missing",
    ],
)
def test_who_may_come_in_plaintext(
    policies: list[dict[str, Any]], listed: list[str], plaintext: set[int]
) -> None:
    state = read(workloads=[{**WORKLOAD, "authorizationPolicies": listed}], policies=policies)
    compiled = state.policies_for(state.workloads[WORKLOAD["uid"]])
    allowed = {
        identity: {
            port
            for port in ALL
            if evaluate(compiled, SOMEBODY._replace(source_id=identity, destination_port=port)).allowed
        }
        for identity in (None, SOMEBODY.source_id)
    }

    assert state.rejections == ()
    assert allowed[None] == plaintext
    assert allowed[SOMEBODY.source_id] == (ALL if set(listed) <= set(state.policies) else set())
