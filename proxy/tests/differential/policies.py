"""Random policies and callers: few names, addresses and ports, so that much matches and much nearly does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from proxy.identity.spiffe import SpiffeId

CALLERS = {
    4: ("10.2.0.1", "10.2.0.2", "192.0.2.7"),
    6: ("fd02::1", "fd03::1"),
}
"""Their addresses, by IP version."""
IDENTITIES = (
    SpiffeId("cluster.local", "a", "x"),
    SpiffeId("cluster.local", "a", "y"),
    SpiffeId("cluster.local", "foo", "x"),
)
PORTS = (80, 81)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One connection to a pod; without an identity it is in plaintext."""

    version: int
    source: str
    identity: SpiffeId | None
    port: int


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A pod with policies of its namespace and its own, and who calls it."""

    policies: list[dict[str, Any]]
    calls: list[Call]
    listed: list[str] = field(default_factory=list)
    """Further policies that the pod lists."""


def own(number: int) -> dict[int, str]:
    """The addresses of the pod of that number, by IP version."""
    return {4: f"10.1.{number >> 8}.{number & 255}", 6: f"fd01::{number:x}"}


def placed(policy: dict[str, Any], number: int, namespace: str) -> dict[str, Any]:
    """In a namespace; destinations that are the pod's own are its addresses."""

    blocks = {"OWN4": f"{own(number)[4]}/32", "OWN6": f"{own(number)[6]}/128"}

    def text(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: text(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [text(inner) for inner in value]
        return blocks.get(value, value) if isinstance(value, str) else value

    made: dict[str, Any] = text(policy)
    return {**made, "namespace": namespace}


def _texts(exact: tuple[str, ...], prefixes: tuple[str, ...], suffixes: tuple[str, ...]) -> Any:
    return st.one_of(
        st.sampled_from(exact).map(lambda text: {"Exact": text}),
        st.sampled_from(prefixes).map(lambda text: {"Prefix": text}),
        st.sampled_from(suffixes).map(lambda text: {"Suffix": text}),
        st.just({"Presence": []}),
    )


namespaces = _texts(("a", "foo", "other"), ("a", "f", "fo"), ("o", "oo", "a"))
principals = _texts(
    ("cluster.local/ns/a/sa/x", "cluster.local/ns/foo/sa/x", "other.example/ns/a/sa/x"),
    ("cluster.local/ns/a", "cluster.local/ns/a/sa/", "cluster", "other"),
    ("/sa/x", "x", "y", "/ns/foo/sa/x"),
)
accounts = st.fixed_dictionaries(
    {"namespace": st.sampled_from(("a", "foo")), "serviceAccount": st.sampled_from(("x", "y"))}
)
sources = st.sampled_from(
    (
        "10.2.0.1/32",
        "10.2.0.0/24",
        "10.2.0.2/31",
        "0.0.0.0/0",
        "192.0.2.0/25",
        "fd02::/64",
        "fd03::1/128",
        "::/0",
    )
)
destinations = st.sampled_from(("OWN4", "OWN6", "10.1.0.0/16", "fd01::/16", "198.51.100.0/24"))
FIELDS: dict[str, Any] = {
    "namespaces": namespaces,
    "principals": principals,
    "serviceAccounts": accounts,
    "sourceIps": sources,
    "destinationIps": destinations,
    "destinationPorts": st.sampled_from((*PORTS, 443)),
}


@st.composite
def matches(draw: Callable[..., Any]) -> dict[str, Any]:
    """None, one or two fields, each with one or two values or their negation."""
    made = {}
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=2, unique=True)):
        spelled = f"not{name[0].upper()}{name[1:]}" if draw(st.booleans()) else name
        made[spelled] = draw(st.lists(FIELDS[name], min_size=1, max_size=2))
    return made


rules = st.lists(st.lists(matches(), max_size=2), max_size=2)
policies = st.fixed_dictionaries(
    {
        "scope": st.sampled_from(("Namespace", "WorkloadSelector")),
        "action": st.sampled_from(("Allow", "Allow", "Deny")),
        "rules": st.lists(rules, max_size=3),
        "dryRun": st.sampled_from((False, False, False, True)),
    }
)


@st.composite
def calls(draw: Callable[..., Any]) -> Call:
    """One call."""
    version = draw(st.sampled_from((4, 4, 6)))
    return Call(
        version=version,
        source=draw(st.sampled_from(CALLERS[version])),
        identity=draw(st.sampled_from((*IDENTITIES, None))),
        port=draw(st.sampled_from(PORTS)),
    )


guarded = st.builds(
    Guarded,
    policies=st.lists(policies, min_size=1, max_size=4),
    calls=st.lists(calls(), min_size=12, max_size=16, unique=True),
)
