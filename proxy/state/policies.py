"""Authorization policies from a mesh document.

A policy that cannot be read whole is not read at all: half a DENY policy would let through what it
was written to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from proxy.identity.spiffe import is_name, is_trust_domain
from proxy.rbac import (
    Action,
    Clause,
    Match,
    Policy,
    Rule,
    Scope,
    ServiceAccountMatch,
    StringKind,
    StringMatch,
)
from proxy.state import fields
from proxy.state.fields import Fields, Malformed, shown

T = TypeVar("T")
Test = Callable[[str], bool]

PRINCIPAL = "TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"


def policy(value: object, where: str) -> Policy:
    """One of `policies`.

    Raises:
        Malformed: With the place of what is wrong.
    """
    given = Fields(value, where)
    read = Policy(
        name=given.need_text("name"),
        namespace=given.need_text("namespace"),
        scope=fields.word(*given.need("scope"), Scope),
        action=fields.word(*given.need("action"), Action),
        rules=tuple(_rule(*item) for item in fields.items(*given.need("rules"))),
        dry_run=given.flag("dryRun"),
    )
    given.end()
    return read


def _rule(value: object, where: str) -> Rule:
    return tuple(_clause(*item) for item in fields.items(value, where))


def _clause(value: object, where: str) -> Clause:
    return tuple(_match(*item) for item in fields.items(value, where))


def _match(value: object, where: str) -> Match:
    given = Fields(value, where)

    def each(name: str, parse: Callable[[object, str], T]) -> tuple[T, ...]:
        return tuple(parse(*item) for item in given.items(name))

    read = Match(
        namespaces=each("namespaces", _namespace),
        not_namespaces=each("notNamespaces", _namespace),
        service_accounts=each("serviceAccounts", _service_account),
        not_service_accounts=each("notServiceAccounts", _service_account),
        principals=each("principals", _principal),
        not_principals=each("notPrincipals", _principal),
        source_ips=each("sourceIps", fields.network),
        not_source_ips=each("notSourceIps", fields.network),
        destination_ips=each("destinationIps", fields.network),
        not_destination_ips=each("notDestinationIps", fields.network),
        destination_ports=each("destinationPorts", fields.port),
        not_destination_ports=each("notDestinationPorts", fields.port),
    )
    given.end()
    return read


def _string(value: object, where: str) -> StringMatch:
    """`{"Exact": "x"}`, likewise Prefix and Suffix, or `{"Presence": []}`: ztunnel's spelling."""
    if not isinstance(value, dict) or len(value) != 1:
        raise Malformed(f"{where}: {shown(value)} is no object with one of {', '.join(sorted(StringKind))}")
    ((name, compared),) = value.items()
    kind = fields.word(name, where, StringKind)
    if kind is StringKind.PRESENCE:
        if compared not in ([], None, {}):
            raise Malformed(f"{where}.Presence: {shown(compared)}; expected []")
        return StringMatch(kind)
    # An empty text would be a prefix and a suffix of everything, the absent identity included.
    return StringMatch(kind, fields.text(compared, f"{where}.{kind}", empty=False))


def _namespace(value: object, where: str) -> StringMatch:
    read = _string(value, where)
    if read.kind is not StringKind.PRESENCE and not _can_match(read, (is_name,)):
        raise Malformed(f"{where}: {_never(read)}: no namespace can have such a name")
    return read


def _principal(value: object, where: str) -> StringMatch:
    read = _string(value, where)
    parts = (is_trust_domain, "ns".__eq__, is_name, "sa".__eq__, is_name)
    if read.kind is not StringKind.PRESENCE and not _can_match(read, parts):
        raise Malformed(f"{where}: {_never(read)}: principals are {PRINCIPAL}, written without spiffe://")
    return read


def _service_account(value: object, where: str) -> ServiceAccountMatch:
    given = Fields(value, where)
    read = ServiceAccountMatch(given.need_text("namespace"), given.need_text("serviceAccount"))
    given.end()
    for name in (read.namespace, read.service_account):
        if not is_name(name):
            raise Malformed(f"{where}: {shown(name)} can never match: nothing can have such a name")
    return read


def _never(match: StringMatch) -> str:
    return (
        f"{match.kind.value} {shown(match.value)} can never match, and is compared as it is, not as a pattern"
    )


_RESTS = ("", "a", "n", "s", "ns", "sa")
"""What completes a part of which only the beginning or end is written: a name, `ns` or `sa`."""


def _can_match(match: StringMatch, parts: tuple[Test, ...]) -> bool:
    """Whether there is a text that compares: a DENY that matches nobody is an open door.

    Args:
        match: Not a PRESENCE.
        parts: What each part of such a text is, between slashes.
    """
    written = match.value.split("/")
    if len(written) > len(parts):
        return False
    match match.kind:
        case StringKind.PREFIX:
            *whole, cut = zip(written, parts, strict=False)
            rests = [cut[0] + rest for rest in _RESTS]
        case StringKind.SUFFIX:
            cut, *whole = zip(written, parts[-len(written) :], strict=True)
            rests = [rest + cut[0] for rest in _RESTS]
        case _:
            return len(written) == len(parts) and all(
                test(part) for part, test in zip(written, parts, strict=True)
            )
    return all(test(part) for part, test in whole) and any(map(cut[1], rests))
