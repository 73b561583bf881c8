"""Tables of ztunnel's own unit tests (rbac.rs, state.rs), and where ours is stricter."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from proxy.identity.spiffe import SpiffeId
from proxy.rbac import (
    Action,
    Compiled,
    Facts,
    Match,
    Policy,
    Rule,
    Scope,
    ServiceAccountMatch,
    StringKind,
    StringMatch,
    evaluate,
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


def matches(match: Match, facts: Facts) -> bool:
    return evaluate(Compiled([policy(((match,),))]), facts).allowed


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
        # T60: a dot is a dot, and the compared text has no scheme.
        (Match(principals=exact("td/ns/name.pace/sa/account")), False, False, False),
        (Match(principals=(StringMatch(StringKind.PREFIX, "td/ns/namespace/"),)), False, True, False),
        (Match(principals=(StringMatch(StringKind.SUFFIX, "/sa/account"),)), False, True, False),
        (Match(principals=(StringMatch(StringKind.PREFIX, "spiffe://"),)), False, False, False),
        # Fields of one match are ANDed, values of one field ORed.
        (Match(namespaces=exact("namespace"), destination_ports=(9090,)), False, False, False),
        (Match(destination_ports=(8080, 9090)), True, True, True),
        (Match(destination_ports=(8080, 9090), not_destination_ports=(9090,)), True, True, False),
    ],
)
def test_each_field_and_its_negation(match: Match, plaintext: bool, tls: bool, other: bool) -> None:
    found = [matches(match, facts) for facts in (PLAINTEXT, TLS, OTHER)]

    assert [plaintext, tls, other] == found


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
    assert evaluate(Compiled([policy(*rules)]), PLAINTEXT).allowed is expected


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

    assert evaluate(Compiled([nested]), facts).allowed is expected


@pytest.mark.parametrize(("namespace", "expected"), [("a", True), ("b", True), ("bad", False)])
def test_any_rule_is_enough(namespace: str, expected: bool) -> None:
    """rbac_multi_rule."""
    multi = policy(((Match(namespaces=exact("a")),),), ((Match(namespaces=exact("b")),),))
    facts = TLS._replace(source_id=SpiffeId("td", namespace, "account"))

    assert evaluate(Compiled([multi]), facts).allowed is expected


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
    decision = evaluate(Compiled(policies, missing=missing), TLS)

    assert (allowed, reason) == (decision.allowed, decision.reason)


def test_dry_run_is_reported_without_effect() -> None:
    dry = policy(EVERYONE, name="dry", action=Action.DENY, dry_run=True)

    decision = evaluate(Compiled([dry, policy(EVERYONE)]), TLS)

    assert decision.allowed
    assert decision.dry_run == ("ns/dry",)
    assert decision.policy == "ns/p"


def test_verdicts_are_remembered_within_a_bound() -> None:
    compiled = Compiled([policy(EVERYONE)])

    for port in range(1, Compiled.VERDICTS + 10):
        evaluate(compiled, TLS._replace(destination_port=port))

    assert len(compiled.verdicts) <= Compiled.VERDICTS
    assert evaluate(compiled, TLS) is evaluate(compiled, TLS)
