"""T50 to T64: who may be reached, by whom."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from proxy import routing
from proxy.admin import pages
from proxy.listeners import inbound, live, passthrough, workload
from proxy.rbac import evaluation, index, predicates
from proxy.rbac.policy import Match, Scope, StringKind, StringMatch
from proxy.state import applying, fields
from proxy.tests.ids.mutations.mutation import Mutation, silence, wrap
from proxy.tests.mesh import workload as made_up


def _any_target() -> None:
    wrap(inbound, "check_target", lambda _original, authority, _pod: (authority.host, authority.port))


def _no_port_is_ours(*modules: ModuleType) -> None:
    for module in modules:
        module.ILLEGAL_PORTS = frozenset()  # type: ignore[attr-defined]


def _get_is_enough() -> None:
    def routes(original: Any, given: Any) -> Any:
        return original({**given, **{("GET", path): page for (_, path), page in given.items()}})

    wrap(pages, "routes", routes)


_FOR_EVERYBODY = """
import sys
sys.path.insert(0, {root!r})
from proxy.admin import accept
original = accept.tcp_listener
accept.tcp_listener = lambda address, port: original("0.0.0.0" if address == "127.0.0.1" else address, port)
"""
_SITES = TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True)


def _admin_for_everybody() -> None:
    """In the proxies that tests start as processes: those read `sitecustomize` before all else."""
    root = str(Path(__file__).parents[4])
    (Path(_SITES.name) / "sitecustomize.py").write_text(_FOR_EVERYBODY.format(root=root))
    os.environ["PYTHONPATH"] = _SITES.name


def _plaintext_has_every_identity() -> None:
    """As if a peer without identity could not fail a `notPrincipals`."""

    def match(original: Any, given: Match) -> Any:
        holds = original(given)
        if holds is None or not given.not_principals:
            return holds
        return lambda facts: facts.source_id is not None and holds(facts)

    wrap(predicates, "_match", match)


def _check_before_registration() -> None:
    """A connection that is being connected is not found by a change of policy."""

    @contextmanager
    def registered(_self: Any, facts: Any, record: Any) -> Any:
        yield live.Live(facts, record)

    wrap(live.LiveConnections, "registered", lambda _original, *given: registered(*given))


def _missing_is_nothing() -> None:
    """As ztunnel: what is not there is passed over."""

    def init(original: Any, self: Any, *sets: Any, missing: Any = (), **given: Any) -> None:
        _ = missing
        original(self, *sets, **given)

    wrap(evaluation.Compiled, "__init__", init)


def _malformed_is_left_out() -> None:
    """As ztunnel: a CIDR that cannot be read is dropped, and a port cut to 16 bits."""

    def items(original: Any, self: Any, name: str) -> Any:
        for value, where in original(self, name):
            if name.lower().endswith("ips"):
                with suppress(fields.Malformed):
                    fields.network(value, where)
                    yield value, where
            else:
                yield (value & 0xFFFF if isinstance(value, int) else value), where

    wrap(fields.Fields, "items", items)


def _empty_match_matches() -> None:
    wrap(predicates, "_match", lambda original, given: original(given) or (lambda _facts: True))
    setattr(index, "_EMPTY", None)  # noqa: B010  no match is left out of the index


def _dry_run_in_force() -> None:
    wrap(
        evaluation.PolicySet,
        "__init__",
        lambda original, self, given: original(
            self, {key: replace(each, dry_run=False) for key, each in given.items()}
        ),
    )


def _allowed_is_allowed() -> None:
    """Whoever an ALLOW policy names is let in, whatever else is said of him."""

    def decide(original: Any, sets: Any, missing: Any, facts: Any) -> Any:
        decided = original(sets, missing, facts)
        key = evaluation._first((each.allow for each in sets), facts)
        return decided if key is None else replace(decided, allowed=True, policy=key)

    wrap(evaluation, "_decide", decide)


def _texts_are_patterns() -> None:
    def texts(_original: Any, given: tuple[StringMatch, ...]) -> Any:
        tails = {StringKind.PREFIX: ".*"}
        patterns = [re.compile(each.value + tails.get(each.kind, "")) for each in given]
        return lambda text: any(pattern.fullmatch(text) for pattern in patterns)

    wrap(predicates, "_texts", texts)


def _any_clause_will_do() -> None:
    """A rule taken for an OR of its clauses: an exception for one port opens all of them."""

    def compiled(original: Any, rule: Any) -> Any:
        clauses = [original((clause,)) for clause in rule]
        return lambda facts: any(clause(facts) for clause in clauses)

    wrap(predicates, "compiled", compiled)
    index.compiled = predicates.compiled  # type: ignore[attr-defined]


def _forwarded_is_believed() -> None:
    """The source address is the one that the last header of the CONNECT names."""

    async def carry(original: Any, self: Any, *given: Any) -> None:
        _stream, headers, record, _pod_address = given
        claimed = [value for name, value in headers if name == b"x-forwarded-for"]
        if claimed:
            record.source_address = (ip_address(claimed[0].decode()), 1)
        await original(self, *given)

    wrap(inbound.Inbound, "_carry", carry)


def _source_is_not_looked_at() -> None:
    wrap(predicates, "_networks", lambda original, _given, address: original((), address))


def _unknown_is_guessed() -> None:
    """A pod of which nothing is known yet is taken for one that nothing is said about."""

    async def wait(_original: Any, self: Any) -> Any:
        known = self.known()
        return known if known is not None else (self._store.state, made_up(self._pod.name))

    wrap(workload.OwnWorkload, "wait", wait)


def _every_list_is_complete() -> None:
    def set_of(original: Any, self: Any, which: Any, given: Any) -> Any:
        return original(self, which, [each for each in given if each.scope is not Scope.WORKLOAD_SELECTOR])

    wrap(applying.Applying, "_set", set_of)


MUTATIONS = [
    Mutation(id="T50", guard="the authority's address", apply=_any_target),
    Mutation(id="T51", guard="ports of the proxy in a CONNECT", apply=partial(_no_port_is_ours, inbound)),
    Mutation(id="T52", guard="own ports, called by an app", apply=partial(_no_port_is_ours, routing)),
    Mutation(id="T52", guard="own ports, called in plaintext", apply=partial(_no_port_is_ours, passthrough)),
    Mutation(id="T53", guard="admin on localhost alone", apply=_admin_for_everybody),
    Mutation(id="T53", guard="changes by POST alone", apply=_get_is_enough),
    Mutation(id="T54", guard="no identity in plaintext", apply=_plaintext_has_every_identity),
    Mutation(id="T55", guard="judging live connections anew", apply=lambda: silence(live.Review, "changed")),
    Mutation(id="T56", guard="registration before judgement", apply=_check_before_registration),
    Mutation(id="T57", guard="a missing policy denies", apply=_missing_is_nothing),
    Mutation(id="T58", guard="a malformed policy is none", apply=_malformed_is_left_out),
    Mutation(id="T59", guard="an empty match never matches", apply=_empty_match_matches),
    Mutation(id="T59", guard="deny comes before allow", apply=_allowed_is_allowed),
    Mutation(id="T59", guard="a dry run decides nothing", apply=_dry_run_in_force),
    Mutation(id="T60", guard="texts are no patterns", apply=_texts_are_patterns),
    Mutation(id="T61", guard="all clauses of a rule", apply=_any_clause_will_do),
    Mutation(id="T61", guard="policies that are listed", apply=_every_list_is_complete),
    Mutation(id="T62", guard="headers for telemetry alone", apply=_forwarded_is_believed),
    Mutation(id="T63", guard="source addresses", apply=_source_is_not_looked_at),
    Mutation(id="T64", guard="nothing is guessed", apply=_unknown_is_guessed),
]
