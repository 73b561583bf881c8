"""Tables of ztunnel's own unit tests (rbac.rs, state.rs), and where ours is stricter."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.spiffe import SpiffeId
from proxy.rbac import (
    Action,
    Compiled,
    Decision,
    Facts,
    Match,
    Policy,
    PolicySet,
    Rule,
    Scope,
    ServiceAccountMatch,
    StringKind,
    StringMatch,
    evaluate,
    index,
)

PLAINTEXT = Facts(ip_address("127.0.0.1"), None, ip_address("127.0.0.2"), 8080)
TLS = PLAINTEXT._replace(source_id=SpiffeId("td", "namespace", "account"))
OTHER = Facts(ip_address("127.0.0.3"), SpiffeId("td", "ns-alt", "sa-alt"), ip_address("127.0.0.4"), 9090)


def exact(value: str) -> tuple[StringMatch, ...]:
    return (StringMatch(StringKind.EXACT, value),)


def policy(*rules: Rule, action: Action = Action.ALLOW, name: str = "p", dry_run: bool = False) -> Policy:
    return Policy(
        name=name, namespace="ns", scope=Scope.NAMESPACE, action=action, rules=rules, dry_run=dry_run
    )


def compiled(*policies: Policy, missing: Iterable[str] = ()) -> Compiled:
    return Compiled(PolicySet({each.key: each for each in policies}), missing=missing)


def matches(match: Match, facts: Facts) -> bool:
    return evaluate(compiled(policy(((match,),))), facts).allowed


ACCOUNT = (ServiceAccountMatch("namespace", "account"),)
ONE = (ip_network("127.0.0.1/32"),)
TWO = (ip_network("127.0.0.2/32"),)


@pytest.mark.parametrize(
    ("match", "plaintext", "tls", "other"),
    [
        (Match(namespaces=exact("namespace")), False, True, False),
        (Match(not_namespaces=exact("namespace")), True, False, True),
        (Match(service_accounts=ACCOUNT), False, True, False),
        (Match(not_service_accounts=ACCOUNT), True, False, True),
        (Match(principals=exact("td/ns/namespace/sa/account")), False, True, False),
        (Match(not_principals=exact("td/ns/namespace/sa/account")), True, False, True),
        (Match(source_ips=ONE), True, True, False),
        (Match(not_source_ips=ONE), False, False, True),
        (Match(destination_ips=TWO), True, True, False),
        (Match(not_destination_ips=TWO), False, False, True),
        (Match(destination_ips=(ip_network("127.0.0.0/24"),)), True, True, True),
        (Match(destination_ports=(8080,)), True, True, False),
        (Match(not_destination_ports=(8080,)), False, False, True),
        # T54: STRICT arrives as DENY with notPrincipals presence, so that must match a peer without identity.
        (Match(not_principals=(StringMatch(StringKind.PRESENCE),)), True, False, False),
        (Match(principals=(StringMatch(StringKind.PRESENCE),)), False, True, True),
        # Fields of one match are ANDed, values of one field ORed.
        (Match(namespaces=exact("namespace"), destination_ports=(9090,)), False, False, False),
        (Match(destination_ports=(8080, 9090)), True, True, True),
        (Match(destination_ports=(8080, 9090), not_destination_ports=(9090,)), True, True, False),
    ],
)
def test_each_field_and_its_negation(match: Match, plaintext: bool, tls: bool, other: bool) -> None:
    """T54, T59: ztunnel's field tests, each with a peer in plaintext, the one that is meant, and another."""
    found = [matches(match, facts) for facts in (PLAINTEXT, TLS, OTHER)]

    assert [plaintext, tls, other] == found


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (StringMatch(StringKind.EXACT, "td/ns/name.pace/sa/account"), False),
        (StringMatch(StringKind.EXACT, "td/ns/.*/sa/account"), False),
        (StringMatch(StringKind.EXACT, "td/ns/*"), False),
        (StringMatch(StringKind.PREFIX, "td/ns/name.pace/"), False),
        (StringMatch(StringKind.PREFIX, "td/ns/namespace/"), True),
        (StringMatch(StringKind.SUFFIX, "/sa/acc.unt"), False),
        (StringMatch(StringKind.SUFFIX, "/sa/account"), True),
        # The compared text has no scheme.
        (StringMatch(StringKind.PREFIX, "spiffe://"), False),
    ],
)
def test_texts_are_compared_and_are_no_patterns(match: StringMatch, expected: bool) -> None:
    """T60."""
    assert matches(Match(principals=(match,)), TLS) is expected


def test_networks_of_one_family_do_not_match_the_other() -> None:
    everything_v4 = Match(source_ips=(ip_network("0.0.0.0/0"),))
    from_v6 = PLAINTEXT._replace(source_ip=ip_address("::1"))

    assert matches(everything_v4, PLAINTEXT)
    assert not matches(everything_v4, from_v6)
    assert matches(Match(source_ips=(ip_network("::/0"),)), from_v6)


@pytest.mark.parametrize(
    ("kind", "value", "text", "expected"),
    [
        (StringKind.EXACT, "foo", "foo", True),
        (StringKind.EXACT, "foo", "not", False),
        (StringKind.EXACT, "foo", "", False),
        (StringKind.PREFIX, "foo", "foobar", True),
        (StringKind.PREFIX, "foo", "notfoo", False),
        (StringKind.PREFIX, "foo", "", False),
        (StringKind.SUFFIX, "foo", "barfoo", True),
        (StringKind.SUFFIX, "foo", "foonot", False),
        (StringKind.SUFFIX, "foo", "", False),
        (StringKind.PRESENCE, "", "foo", True),
        (StringKind.PRESENCE, "", "", False),
    ],
)
def test_string_match(kind: StringKind, value: str, text: str, expected: bool) -> None:
    assert StringMatch(kind, value).matches(text) is expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), False),
        (((),), True),
        ((((),),), True),
        ((((Match(),),),), False),
        ((((Match(), Match(destination_ports=(8080,))),),), True),
    ],
    ids=["no rules", "empty rule", "empty clause", "empty match", "empty match beside one that matches"],
)
def test_empty_parts(rules: tuple[Rule, ...], expected: bool) -> None:
    """T59: rbac_empty_policy."""
    assert evaluate(compiled(policy(*rules)), PLAINTEXT).allowed is expected


@pytest.mark.parametrize(
    ("namespace", "port", "expected"),
    [("a", 80, True), ("b", 80, True), ("bad", 80, False), ("b", 12345, False)],
)
def test_a_rule_is_all_of_its_clauses_and_a_clause_any_of_its_matches(
    namespace: str, port: int, expected: bool
) -> None:
    """rbac_nesting."""
    namespaces = (Match(namespaces=exact("a")), Match(namespaces=exact("b")))
    nested = policy((namespaces, (Match(destination_ports=(80,)),)))
    facts = TLS._replace(source_id=SpiffeId("td", namespace, "account"), destination_port=port)

    assert evaluate(compiled(nested), facts).allowed is expected


@pytest.mark.parametrize(("namespace", "expected"), [("a", True), ("b", True), ("bad", False)])
def test_any_rule_is_enough(namespace: str, expected: bool) -> None:
    """rbac_multi_rule."""
    multi = policy(((Match(namespaces=exact("a")),),), ((Match(namespaces=exact("b")),),))
    facts = TLS._replace(source_id=SpiffeId("td", namespace, "account"))

    assert evaluate(compiled(multi), facts).allowed is expected


EVERYONE: Rule = ()
NOBODY: Rule = ((Match(),),)


@pytest.mark.parametrize(
    ("policies", "missing", "allowed", "reason"),
    [
        ([], [], True, "no policy"),
        ([policy(EVERYONE)], [], True, "allowed by: ns/p"),
        ([policy(NOBODY)], [], False, "allow policies exist, but none allowed"),
        ([policy(NOBODY), policy(EVERYONE, name="q")], [], True, "allowed by: ns/q"),
        (
            [policy(EVERYONE), policy(EVERYONE, name="d", action=Action.DENY)],
            [],
            False,
            "explicitly denied by: ns/d",
        ),
        ([policy(EVERYONE), policy(NOBODY, name="d", action=Action.DENY)], [], True, "allowed by: ns/p"),
        ([policy(NOBODY, action=Action.DENY)], [], True, "no policy denied"),
        ([policy(EVERYONE, dry_run=True, action=Action.DENY)], [], True, "no policy denied"),
        ([policy(NOBODY, dry_run=True)], [], True, "no policy denied"),
        ([], ["ns/gone"], False, "policy ns/gone not loaded"),
        ([policy(EVERYONE)], ["ns/gone"], False, "policy ns/gone not loaded"),
        ([policy(EVERYONE, name="d", action=Action.DENY)], ["ns/gone"], False, "explicitly denied by: ns/d"),
    ],
)
def test_order_of_evaluation(policies: list[Policy], missing: list[str], allowed: bool, reason: str) -> None:
    """T57, T59: deny first, then what is missing, then allow."""
    decision = evaluate(compiled(*policies, missing=missing), TLS)

    assert (allowed, reason) == (decision.allowed, decision.reason)


def test_dry_run_is_reported_without_effect() -> None:
    dry = policy(EVERYONE, name="dry", action=Action.DENY, dry_run=True)

    decision = evaluate(compiled(dry, policy(EVERYONE)), TLS)

    assert decision.allowed
    assert decision.policy == "ns/p"
    assert decision.dry_run == "explicitly denied by: ns/dry"


@pytest.mark.parametrize(
    ("trust_domains", "allowed"), [(None, True), ({"td"}, True), ({"td", "other"}, True), ({"other"}, False)]
)
def test_identities_of_another_trust_domain_are_nobody_here(
    trust_domains: set[str] | None, allowed: bool
) -> None:
    """T33, P49, where a tunnel outlives the change of a workload's trust domain."""
    policies = Compiled(trust_domains=None if trust_domains is None else frozenset(trust_domains))

    assert evaluate(policies, TLS).allowed is allowed
    assert evaluate(policies, PLAINTEXT).allowed


def test_verdicts_are_remembered_within_a_bound() -> None:
    policies = compiled(policy(EVERYONE))

    for port in range(1, Compiled.VERDICTS + 10):
        evaluate(policies, TLS._replace(destination_port=port))

    assert len(policies.verdicts) <= Compiled.VERDICTS
    assert evaluate(policies, TLS) is evaluate(policies, TLS)


def asked_one_by_one(policies: list[Policy], facts: Facts) -> Decision:
    """What the policies say, without an index: each rule is asked by itself."""
    by_name = sorted(policies, key=lambda each: each.key)
    for action in (Action.DENY, Action.ALLOW):
        for each in (each for each in by_name if each.action is action):
            for rule in each.rules:
                alone = compiled(policy(rule, action=Action.ALLOW))
                if evaluate(alone, facts).allowed:
                    words = "allowed by" if action is Action.ALLOW else "explicitly denied by"
                    return Decision(
                        allowed=action is Action.ALLOW, policy=each.key, reason=f"{words}: {each.key}"
                    )
    closed = any(each.action is Action.ALLOW for each in by_name)
    reason = "allow policies exist, but none allowed" if closed else "no policy denied"
    return Decision(allowed=not closed, policy=None, reason=reason)


NAMES = st.sampled_from(["a", "ab", "abc", "b", "ba"])
TEXTS = st.lists(
    st.one_of(
        st.builds(
            StringMatch,
            st.sampled_from([StringKind.EXACT, StringKind.PREFIX, StringKind.SUFFIX]),
            st.one_of(NAMES, st.sampled_from(["td/ns/a", "sa/b", "td/ns/a/sa/b", "td/ns/ab/sa/a"])),
        ),
        st.just(StringMatch(StringKind.PRESENCE)),
    ),
    max_size=2,
).map(tuple)
ACCOUNTS = st.lists(st.builds(ServiceAccountMatch, NAMES, NAMES), max_size=2).map(tuple)
NETWORKS = st.lists(
    st.sampled_from(
        [
            ip_network(text)
            for text in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.1", "::/0", "fd00::/8")
        ]
    ),
    max_size=2,
).map(tuple)
PORTS = st.lists(st.sampled_from([80, 81, 8080]), max_size=2).map(tuple)
MATCHES = st.builds(
    Match,
    namespaces=TEXTS,
    not_namespaces=TEXTS,
    service_accounts=ACCOUNTS,
    not_service_accounts=ACCOUNTS,
    principals=TEXTS,
    not_principals=TEXTS,
    source_ips=NETWORKS,
    not_source_ips=NETWORKS,
    destination_ips=NETWORKS,
    destination_ports=PORTS,
    not_destination_ports=PORTS,
)
FACTS = st.builds(
    Facts,
    st.sampled_from([ip_address(text) for text in ("10.0.0.1", "10.1.0.1", "192.0.2.1", "fd00::1", "::1")]),
    st.one_of(st.none(), st.builds(SpiffeId, st.just("td"), NAMES, NAMES)),
    st.sampled_from([ip_address(text) for text in ("10.1.0.1", "fd00::1")]),
    st.sampled_from([80, 81, 8080, 9090]),
)
RULES = st.lists(st.lists(MATCHES, max_size=2).map(tuple), max_size=2).map(tuple)


@given(
    rules=st.lists(st.tuples(st.sampled_from(Action), st.lists(RULES, max_size=3)), max_size=5),
    connections=st.lists(FACTS, min_size=1, max_size=5),
)
def test_an_index_changes_no_decision(
    rules: list[tuple[Action, list[Rule]]], connections: list[Facts]
) -> None:
    """P53: without the real ztunnel at hand, rules asked one by one stand for it."""
    policies = [
        policy(*each, action=action, name=f"p{number}") for number, (action, each) in enumerate(rules)
    ]
    indexed = compiled(*policies, policy(name="never", action=Action.DENY))

    for facts in connections:
        assert asked_one_by_one(policies, facts) == evaluate(indexed, facts)


def many() -> list[Rule]:
    """Rules that differ by whom they are for."""
    return [
        ((Match(principals=exact(f"td/ns/namespace/sa/other-{number}"), destination_ports=(8080,)),),)
        for number in range(10_000)
    ]


MINE: Rule = ((Match(principals=exact("td/ns/namespace/sa/account"), destination_ports=(8080,)),),)


def test_of_many_rules_only_those_that_the_facts_name_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk over all of them would make every first connection wait."""
    policies = compiled(policy(*many(), action=Action.DENY), policy(MINE, action=Action.DENY, name="q"))
    asked = spied(monkeypatch, "compiled")

    assert evaluate(policies, TLS).policy == "ns/q"
    assert asked == [MINE]


def spied(monkeypatch: pytest.MonkeyPatch, function: str) -> list[Rule]:
    """The rules that a function of the index is called with from now on."""
    rules: list[Rule] = []
    original = getattr(index, function)

    def spy(rule: Rule, *others: Any) -> Any:
        rules.append(rule)
        return original(rule, *others)

    monkeypatch.setattr(index, function, spy)
    return rules
