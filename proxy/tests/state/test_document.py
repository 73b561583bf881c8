"""Mesh documents: each resource stands for itself, and what is rejected fails closed."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.identity.spiffe import SpiffeId
from proxy.rbac import (
    Action,
    Compiled,
    Facts,
    PolicySet,
    Scope,
    ServiceAccountMatch,
    StringKind,
    StringMatch,
    evaluate,
)
from proxy.state.document import MalformedDocument, parse
from proxy.state.mesh import MeshState
from proxy.state.model import Protocol

WORKLOAD: dict[str, Any] = {
    "uid": "Kubernetes//Pod/bench/client",
    "name": "client",
    "namespace": "bench",
    "serviceAccount": "client",
    "workloadIps": ["10.244.1.2"],
    "protocol": "HBONE",
    "node": "a",
    "network": "",
    "trustDomain": "cluster.local",
    "services": {"bench/web.bench": {"80": 8080}},
    "authorizationPolicies": ["bench/strict"],
}
SERVICE: dict[str, Any] = {
    "name": "web",
    "namespace": "bench",
    "hostname": "web.bench",
    "vips": ["/10.96.0.1", "far/10.96.0.2"],
    "ports": {"80": 8080},
    "subjectAltNames": ["spiffe://cluster.local/ns/bench/sa/web"],
    "canonical": True,
    "loadBalancer": {"mode": "Failover", "routingPreferences": ["Region", "Zone"]},
}
POLICY: dict[str, Any] = {
    "name": "strict",
    "namespace": "bench",
    "scope": "WorkloadSelector",
    "action": "Deny",
    "dryRun": False,
    "rules": [[[{"notPrincipals": [{"Presence": []}]}]]],
}
SOMEBODY = Facts(ip_address("10.0.0.1"), SpiffeId("cluster.local", "ns", "sa"), ip_address("10.244.1.2"), 80)


def document(**sections: list[Any]) -> bytes:
    return json.dumps(sections).encode()


def read(previous: MeshState | None = None, **sections: list[Any]) -> MeshState:
    return parse(document(**sections), version=1, previous=previous)


def test_a_whole_document() -> None:
    state = read(workloads=[WORKLOAD], services=[SERVICE], policies=[POLICY])

    assert state.rejections == ()
    client = state.workload_at(ip_address("10.244.1.2"))
    assert client is not None
    assert client is state.workload_named(namespace="bench", name="client", service_account="client")
    assert client.protocol is Protocol.HBONE
    assert client.identity_text == "spiffe://cluster.local/ns/bench/sa/client"
    service = state.service_at(ip_address("10.96.0.1"))
    assert service is not None
    assert service is state.service_at(ip_address("10.96.0.2"), "far")
    assert state.service_at(ip_address("10.96.0.2")) is None
    assert [endpoint.workload for endpoint in state.endpoints(service)] == [client]
    plaintext = SOMEBODY._replace(source_id=None)
    assert evaluate(state.policies_for(client), SOMEBODY).allowed
    assert evaluate(state.policies_for(client), plaintext).policy == "bench/strict"


def test_every_field_of_a_match() -> None:
    match = {
        "namespaces": [{"Exact": "a"}],
        "notNamespaces": [{"Prefix": "b"}],
        "serviceAccounts": [{"namespace": "n", "serviceAccount": "s"}],
        "notServiceAccounts": [{"namespace": "n", "serviceAccount": "t"}],
        "principals": [{"Suffix": "/sa/x"}],
        "notPrincipals": [{"Presence": []}],
        "sourceIps": ["10.0.0.0/8", "192.0.2.1"],
        "notSourceIps": ["10.1.2.3/16"],
        "destinationIps": ["fd00::/8"],
        "notDestinationIps": ["fd00::1/128"],
        "destinationPorts": [80, 443],
        "notDestinationPorts": [9999],
    }
    state = read(policies=[{**POLICY, "scope": "Global", "action": "Allow", "rules": [[[match]]]}])

    policy = state.policies["bench/strict"]
    assert (policy.scope, policy.action) == (Scope.GLOBAL, Action.ALLOW)
    ((((found,),),)) = policy.rules
    assert found.namespaces == (StringMatch(StringKind.EXACT, "a"),)
    assert found.not_namespaces == (StringMatch(StringKind.PREFIX, "b"),)
    assert found.service_accounts == (ServiceAccountMatch("n", "s"),)
    assert found.not_service_accounts == (ServiceAccountMatch("n", "t"),)
    assert found.principals == (StringMatch(StringKind.SUFFIX, "/sa/x"),)
    assert found.not_principals == (StringMatch(StringKind.PRESENCE),)
    assert found.source_ips == (ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"))
    assert found.not_source_ips == (ip_network("10.1.0.0/16"),)
    assert found.destination_ips == (ip_network("fd00::/8"),)
    assert found.not_destination_ips == (ip_network("fd00::1/128"),)
    assert (found.destination_ports, found.not_destination_ports) == ((80, 443), (9999,))


def block(cidr: str) -> dict[str, str]:
    """One of `cidrVips`."""
    return {"network": "", "cidr": cidr}


def with_match(**match: Any) -> dict[str, Any]:
    return {**POLICY, "rules": [[[match]]]}


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (with_match(sourceIps=["10.0.0.300"]), "no CIDR block"),
        (with_match(notSourceIps=["10.0.0.0/33"]), "no CIDR block"),
        (with_match(destinationPorts=[65616]), "no whole number from 1 to 65535"),
        (with_match(destinationPorts=[0]), "no whole number"),
        (with_match(destinationPorts=["80"]), "no whole number"),
        (with_match(destinationPorts=[True]), "no whole number"),
        (with_match(destinationPorts=80), "no list"),
        (with_match(principal=[{"Exact": "x"}]), "unknown field 'principal'"),
        (with_match(principals=[{"Exact": "spiffe://td/ns/a/sa/b"}]), "without spiffe://"),
        (with_match(principals=[{"Exact": "*"}]), "can never match"),
        (with_match(principals=[{"Prefix": "*"}]), "can never match"),
        (with_match(principals=[{"Exact": "cluster.local/ns/*/sa/x"}]), "can never match"),
        (with_match(principals=[{"Prefix": "cluster.local/ns/foo/*"}]), "can never match"),
        (with_match(principals=[{"Exact": "/ns/foo/sa/x"}]), "can never match"),
        (with_match(principals=[{"Prefix": "/ns/foo"}]), "can never match"),
        (with_match(principals=[{"Prefix": "spiffe://"}]), "can never match"),
        (with_match(principals=[{"Suffix": "x/sa/y/"}]), "can never match"),
        (with_match(principals=[{"Exact": "foo"}]), "can never match"),
        (with_match(notPrincipals=[{"Exact": "*"}]), "can never match"),
        (with_match(namespaces=[{"Exact": "foo*"}]), "can never match"),
        (with_match(namespaces=[{"Prefix": "Foo"}]), "can never match"),
        (with_match(namespaces=[{"Suffix": "foo/"}]), "can never match"),
        (with_match(serviceAccounts=[{"namespace": "*", "serviceAccount": "x"}]), "can never match"),
        (with_match(serviceAccounts=[{"namespace": "a", "serviceAccount": "*"}]), "can never match"),
        (with_match(sourceIps=["::ffff:10.0.0.0/95"]), "expected a prefix from /96 on"),
        (with_match(sourceIps=["fe80::1%eth0"]), "no CIDR block"),
        (with_match(principals=[{"Regex": "x"}]), "expected one of Exact, Prefix, Presence, Suffix"),
        (with_match(principals=[{"Prefix": ""}]), "non-empty"),
        (with_match(principals=[{"Exact": "a", "Prefix": "b"}]), "no object with one of"),
        (with_match(principals=["a"]), "no object with one of"),
        (with_match(serviceAccounts=[{"namespace": "n"}]), "serviceAccount is missing"),
        ({**POLICY, "rules": [[{"notPrincipals": []}]]}, "no list"),
        ({**POLICY, "rules": {}}, "no list"),
        ({**POLICY, "action": "Audit"}, "expected one of Allow, Deny"),
        ({**POLICY, "scope": "Mesh"}, "expected one of Global, Namespace, WorkloadSelector"),
        ({**POLICY, "dryRun": "false"}, "neither true nor false"),
        ({key: value for key, value in POLICY.items() if key != "rules"}, "rules is missing"),
    ],
)
def test_a_malformed_policy_is_rejected_whole_and_denies(policy: dict[str, Any], why: str) -> None:
    """T58, T57, P46: a rule that cannot be read, or never matches, is not dropped; its workloads are shut."""
    state = read(workloads=[WORKLOAD], policies=[policy])

    (rejection,) = state.rejections
    assert why in rejection.reason
    assert not rejection.kept
    client = state.workloads[WORKLOAD["uid"]]
    decision = evaluate(state.policies_for(client), SOMEBODY)
    assert (decision.allowed, decision.reason) == (False, "policy bench/strict not loaded")


def test_a_malformed_policy_keeps_its_previous_version() -> None:
    """T58."""
    before = read(workloads=[WORKLOAD], policies=[POLICY])

    after = read(before, workloads=[WORKLOAD], policies=[with_match(destinationPorts=[65616])])

    assert after.rejections[0].kept
    assert after.policies == before.policies


@pytest.mark.parametrize(
    ("scope", "action", "namespace", "allowed"),
    [
        ("Namespace", "Deny", "bench", False),
        ("Namespace", "Deny", "other", True),
        ("Global", "Deny", "istio-system", False),
        ("Galaxy", "Deny", "bench", False),
        ("Namespace", "Doubt", "bench", False),
        ("Namespace", "Allow", "bench", False),
        ("WorkloadSelector", "Deny", "bench", True),
    ],
)
def test_an_unreadable_policy_denies_where_it_is_for(
    scope: str, action: str, namespace: str, allowed: bool
) -> None:
    """I4: what is not listed by the workload applies by its scope all the same."""
    broken = {**POLICY, "scope": scope, "action": action, "namespace": namespace, "rules": "?"}
    state = read(workloads=[{**WORKLOAD, "authorizationPolicies": []}], policies=[broken])

    decision = evaluate(state.policies_for(state.workloads[WORKLOAD["uid"]]), SOMEBODY)

    assert decision.allowed is allowed


def test_an_unreadable_allow_policy_leaves_others_in_force() -> None:
    broken = {**POLICY, "scope": "Namespace", "action": "Allow", "rules": "?"}
    good = {**POLICY, "name": "good", "scope": "Namespace", "action": "Allow", "rules": [[]]}
    state = read(workloads=[{**WORKLOAD, "authorizationPolicies": []}], policies=[broken, good])

    decision = evaluate(state.policies_for(state.workloads[WORKLOAD["uid"]]), SOMEBODY)

    assert decision.policy == "bench/good"


def test_a_rejected_dry_run_has_no_effect() -> None:
    broken = {**POLICY, "scope": "Global", "dryRun": True, "rules": "?"}
    state = read(workloads=[{**WORKLOAD, "authorizationPolicies": []}], policies=[broken])

    assert evaluate(state.policies_for(state.workloads[WORKLOAD["uid"]]), SOMEBODY).allowed


def test_one_malformed_of_a_hundred_rejects_itself_alone() -> None:
    """B98."""
    many = [{**WORKLOAD, "uid": f"u{n}", "name": f"w{n}", "workloadIps": [f"10.0.0.{n}"]} for n in range(100)]
    many[42]["workloadIps"] = ["10.0.0.42", "10.0.0.300"]

    state = read(workloads=many)

    assert len(state.workloads) == 99
    assert [rejection.key for rejection in state.rejections] == ["u42"]
    assert "workloads[42].workloadIps[1]: '10.0.0.300'" in state.rejections[0].reason
    assert ("", ip_address("10.0.0.42")) in state.unusable


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"uid": ""}, "non-empty"),
        ({"protocol": "QUIC"}, "expected one of HBONE, TCP"),
        ({"serviceAccount": "No Such"}, "service account"),
        ({"serviceAccount": ""}, "service account ''"),
        ({"protocol": "TCP", "serviceAccount": "No Such"}, "service account"),
        ({"workloadIps": ["fe80::1%eth0"]}, "no IP address"),
        ({"hostname": "b\xfccher.example"}, "no host name"),
        ({"serviceAccount": "a/../b"}, "service account"),
        ({"trustDomain": "Cluster.Local"}, "trust domain"),
        ({"authorizationPolicys": []}, "unknown field"),
        ({"workloadIps": "10.0.0.1"}, "no list"),
        ({"services": {"web": {}}}, "expected namespace/hostname"),
        ({"services": {"bench/web": {"http": 80}}}, "no port"),
        ({"name": "a\nb"}, "printable"),
        ({"capacity": -1}, "no whole number"),
        ({"waypoint": {}}, "destination is missing"),
        ({"applicationTunnel": {"protocol": "PROXY"}}, "not supported"),
    ],
)
def test_malformed_workloads(change: dict[str, Any], why: str) -> None:
    state = read(workloads=[{**WORKLOAD, **change}])

    (rejection,) = state.rejections
    assert why in rejection.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"vips": ["10.96.0.1"]}, "expected network/address"),
        ({"vips": ["/10.96.0.256"]}, "no IP address"),
        ({"cidrVips": ["/10.96.0.0/16"]}, "no object"),
        ({"cidrVips": [block("10.96.0.0/33")]}, "no CIDR block"),
        ({"ports": {"80": 70000}}, "no whole number"),
        ({"loadBalancer": {"mode": "Random"}}, "expected one of"),
        ({"visibility": "Private"}, "expected one of Namespace, Public"),
        ({"ipFamilies": "IPv5"}, "expected one of Dual, IPv4, IPv6"),
        ({"vip": []}, "unknown field"),
        ({"hostname": "b\xfccher.example"}, "no host name"),
        ({"hostname": "a;b"}, "no host name"),
        ({"ports": {"1" * 5000: 80}}, "is no port"),
    ],
)
def test_malformed_services(change: dict[str, Any], why: str) -> None:
    """B98, P27, P29."""
    state = read(services=[{**SERVICE, **change}])

    (rejection,) = state.rejections
    assert why in rejection.reason
    assert rejection.key == f"bench/{change.get('hostname', 'web.bench')}"


def test_one_of_a_document_with_numbers_of_thousands_of_digits_is_rejected() -> None:
    """P29: Python converts no text of more than 4,300 digits, which once refused the whole document."""
    text = document(workloads=[WORKLOAD, {**WORKLOAD, "uid": "long", "capacity": 0}])
    text = text.replace(b'"capacity": 0', b'"capacity": ' + b"1" * 5000)

    state = parse(text, version=1)

    assert list(state.workloads) == [WORKLOAD["uid"]]
    assert [rejection.key for rejection in state.rejections] == ["long"]


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    """P51."""
    state = parse(b"\xef\xbb\xbf" + document(workloads=[WORKLOAD]), version=1)

    assert list(state.workloads) == [WORKLOAD["uid"]]


def test_a_name_that_cannot_stand_in_a_log_line_is_no_key() -> None:
    (rejection,) = read(workloads=[{**WORKLOAD, "uid": "a\nwarn forged"}]).rejections

    assert rejection.key == "workloads[0]"


def test_a_workload_without_service_account_is_served_in_plaintext() -> None:
    """P45: an endpoint of a ServiceEntry has none, and needs none."""
    bare = {key: value for key, value in WORKLOAD.items() if key != "serviceAccount"}

    state = read(workloads=[{**bare, "protocol": "TCP"}], services=[SERVICE])

    assert state.rejections == ()
    (endpoint,) = state.endpoints(state.services["bench/web.bench"])
    assert endpoint.workload is state.workload_at(ip_address("10.244.1.2"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("Exact", "cluster.local/ns/foo/sa/x"),
        *(("Prefix", "cluster.local/ns/foo/sa/x"[:length]) for length in range(1, 26)),
        *(("Suffix", "cluster.local/ns/foo/sa/x"[-length:]) for length in range(1, 26)),
        ("Prefix", "cluster-"),
        ("Suffix", "-x"),
    ],
)
def test_a_principal_that_can_match_is_taken(kind: str, text: str) -> None:
    """P46: and does match."""
    state = read(workloads=[WORKLOAD], policies=[with_match(principals=[{kind: text}])])

    assert state.rejections == ()
    caller = "spiffe://cluster.local/ns/foo/sa/x".replace(
        "cluster.local", "cluster-a" if text[-1] == "-" else "cluster.local"
    )
    caller = caller.replace("/sa/x", "/sa/a-x") if text == "-x" else caller
    facts = SOMEBODY._replace(source_id=SpiffeId.parse(caller))
    policy = state.policies["bench/strict"]
    assert evaluate(Compiled(PolicySet({"p": policy})), facts).policy is not None


def test_mapped_addresses_are_ipv4() -> None:
    """P47: wherever a document has an address; sockets' own are IPv4, and would never compare."""
    state = read(
        workloads=[{**WORKLOAD, "workloadIps": ["::ffff:10.0.0.1"]}],
        services=[{**SERVICE, "vips": ["/::ffff:10.96.0.1"], "cidrVips": [block("::ffff:10.97.0.0/112")]}],
        policies=[with_match(sourceIps=["::ffff:10.0.0.0/104", "::ffff:192.0.2.1"])],
    )

    assert state.rejections == ()
    assert state.workload_at(ip_address("10.0.0.1")) is not None
    assert state.service_at(ip_address("10.96.0.1")) is state.service_at(ip_address("10.97.1.1"))
    assert state.service_at(ip_address("10.96.0.1")) is not None
    client = state.workloads[WORKLOAD["uid"]]
    assert not evaluate(
        state.policies_for(client), SOMEBODY._replace(source_ip=ip_address("10.1.2.3"))
    ).allowed
    assert not evaluate(
        state.policies_for(client), SOMEBODY._replace(source_ip=ip_address("192.0.2.1"))
    ).allowed
    assert evaluate(state.policies_for(client), SOMEBODY._replace(source_ip=ip_address("11.0.0.1"))).allowed


def test_the_second_of_two_with_one_key_is_rejected() -> None:
    state = read(workloads=[WORKLOAD, {**WORKLOAD, "workloadIps": ["10.244.1.9"]}])

    (rejection,) = state.rejections
    assert "is there twice" in rejection.reason
    assert state.workload_at(ip_address("10.244.1.2")) is not None
    assert state.workload_at(ip_address("10.244.1.9")) is None


def test_a_key_that_comes_twice_in_one_object_is_rejected() -> None:
    text = json.dumps({"policies": [POLICY]}).replace('"dryRun": false', '"dryRun": false, "dryRun": true')

    (rejection,) = parse(text.encode(), version=1).rejections

    assert "'dryRun' is there twice" in rejection.reason


def test_host_network_workloads_have_no_address_of_their_own() -> None:
    state = read(workloads=[{**WORKLOAD, "networkMode": "HostNetwork"}])

    assert state.workload_at(ip_address("10.244.1.2")) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"workloads": {}}',
        b'{"workload": []}',
        b'{"workloads": [NaN]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_document_is_refused_whole(text: bytes) -> None:
    with pytest.raises(MalformedDocument):
        parse(text, version=1)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    section=st.sampled_from(["workloads", "services", "policies"]),
    base=st.sampled_from([WORKLOAD, SERVICE, POLICY]),
    key=st.sampled_from(sorted({*WORKLOAD, *SERVICE, *POLICY})),
    value=JSON,
)
def test_any_value_anywhere_is_read_or_rejected(
    section: str, base: dict[str, Any], key: str, value: Any
) -> None:
    state = parse(json.dumps({section: [{**base, key: value}, value]}).encode(), version=1)

    taken = len(state.workloads) + len(state.services) + len(state.policies)
    assert taken + len(state.rejections) == 2


def test_what_has_not_changed_is_not_made_anew() -> None:
    """Of a large mesh one resource changes at a time; reading all again would be felt by the traffic."""
    other = {**POLICY, "name": "other"}
    before = read(workloads=[WORKLOAD], policies=[POLICY, other])
    after = read(before, workloads=[WORKLOAD], policies=[POLICY, {**other, "action": "Allow"}])

    assert after.workloads[WORKLOAD["uid"]] is before.workloads[WORKLOAD["uid"]]
    assert after.policies["bench/strict"] is before.policies["bench/strict"]
    assert after.policies["bench/other"].action is Action.ALLOW


POLICIES = st.lists(
    st.one_of(
        st.builds(
            lambda name, action: {**POLICY, "name": name, "action": action},
            st.sampled_from("abcdef"),
            st.sampled_from(["Allow", "Deny", "Perhaps"]),
        ),
        st.just("no policy"),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(documents=st.lists(POLICIES, min_size=2, max_size=4), indent=st.sampled_from([None, 1]))
def test_what_has_not_changed_is_as_if_it_had_been_read(
    documents: list[list[Any]], indent: int | None
) -> None:
    """Policies that come, go, move, change, turn bad and good again, one there twice."""
    state, anew = MeshState(), MeshState()
    for number, each in enumerate(documents, start=1):
        text = json.dumps({"policies": each}, indent=indent).encode()
        state = parse(text, version=number, previous=state)
        anew = parse(text, version=number, previous=without_memory(anew))

        assert list(state.policies.items()) == list(anew.policies.items())
        assert state.rejections == anew.rejections
        assert state.unloaded == anew.unloaded
        assert state.encoded == anew.encoded


def without_memory(state: MeshState) -> MeshState:
    """The same, of which nothing can be told to be unchanged."""
    return MeshState(version=state.version, policies=state.policies.values())


@pytest.mark.parametrize("value", [0, 1, 0.0, "false", None, [False]])
def test_what_only_compares_equal_has_changed(value: Any) -> None:
    """To Python 0 is False; to a policy it is no flag."""
    before = read(policies=[POLICY])

    after = read(before, policies=[{**POLICY, "dryRun": value}])

    assert (value is None) is not bool(after.rejections)


def test_a_section_that_comes_twice_is_refused_whole() -> None:
    """Of two readers, each might take another one."""
    with pytest.raises(MalformedDocument, match="policies is there twice"):
        parse(b'{"policies": [], "policies": []}', version=1)


def test_a_key_that_comes_twice_is_rejected_even_where_the_rest_is_as_before() -> None:
    before = read(policies=[POLICY])
    twice = document(policies=[POLICY]).replace(b'"dryRun": false', b'"dryRun": true, "dryRun": false')

    assert (
        parse(twice, version=2, previous=before).rejections[0].reason
        == "policies[0]: 'dryRun' is there twice"
    )
