"""The mesh document: JSON in the shape that ztunnel reads from LOCAL_XDS_PATH.

Each resource stands for itself: a malformed one is rejected with its reason and the others are
used. Its previous version stays in force. Where there is none, it fails closed: its addresses are
refused, and a policy denies what it might have denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from proxy.background import breathing
from proxy.rbac import Action, Scope
from proxy.state import addresses, fields, policies
from proxy.state.applying import Unloaded
from proxy.state.decoding import Twice, decode, encode, refuse_twice
from proxy.state.fields import Malformed, shown
from proxy.state.mesh import MeshState, Rejection, Unusable
from proxy.state.model import IPAddress, IPNetwork, NetworkMode, names_a_pod

SECTIONS = ("workloads", "services", "policies")


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


R = TypeVar("R", bound=_Keyed)
T = TypeVar("T")


class MalformedDocument(ValueError):
    """The document as a whole cannot be read: nothing of it is used."""


def parse(
    document: bytes,
    *,
    version: int,
    previous: MeshState | None = None,
    aliases: frozenset[str] = frozenset(),
) -> MeshState:
    """Read a document into the next snapshot.

    Args:
        document: JSON, UTF-8.
        version: Of the new snapshot.
        previous: Where rejected resources' last good versions are taken from, and those that have not
            changed.
        aliases: `MeshState`'s.

    Raises:
        MalformedDocument: No JSON, or not an object of the three lists.
    """
    listed, old = _lists(document), previous or MeshState()
    encoded = {name: old.encoded.get(name, {}) for name in SECTIONS}
    workloads = _Section("workload", addresses.workload, _uid, old.workloads, encoded["workloads"])
    services = _Section("service", addresses.service, _key_of("hostname"), old.services, encoded["services"])
    rules = _Section("policy", policies.policy, _key_of("name"), old.policies, encoded["policies"])
    workloads.read("workloads", listed["workloads"])
    services.read("services", listed["services"])
    rules.read("policies", listed["policies"])
    lost = [*workloads.lost, *services.lost]
    return MeshState(
        version=version,
        workloads=workloads.found.values(),
        services=services.found.values(),
        policies=rules.found.values(),
        rejections=[*workloads.rejections, *services.rejections, *rules.rejections],
        unloaded=[unloaded for lost in rules.lost if (unloaded := _unloaded(lost)) is not None],
        unusable=_unusable_addresses(lost),
        unusable_blocks=_unusable_blocks(lost),
        encoded={"workloads": workloads.encoded, "services": services.encoded, "policies": rules.encoded},
        previous=previous,
        aliases=aliases,
    )


def _lists(document: bytes) -> dict[str, list[Any]]:
    """The document's lists, decoded; absent ones are empty."""
    try:
        decoded = decode(document)
    except (ValueError, RecursionError) as exc:
        raise MalformedDocument(f"no JSON: {exc}") from exc
    if not isinstance(decoded, dict):
        raise MalformedDocument(f"{shown(decoded)} is no object with {', '.join(SECTIONS)}")
    if isinstance(decoded, Twice):
        raise MalformedDocument(f"{decoded.twice} is there twice")
    for name, listed in decoded.items():
        if name not in SECTIONS:
            raise MalformedDocument(f"unknown section {shown(name)}; known: {', '.join(SECTIONS)}")
        if not isinstance(listed, list):
            raise MalformedDocument(f"{name}: {shown(listed)} is no list")
    return {name: decoded.get(name, []) for name in SECTIONS}


@dataclass(frozen=True, slots=True)
class _Rejected:
    """A resource that cannot be used."""

    key: str | None
    """None where not even that could be read."""
    value: object
    where: str
    reason: str


class _Section(Generic[R]):
    """Reads one list, resource by resource; those that have not changed are not made anew."""

    def __init__(
        self,
        kind: str,
        parse_one: Callable[[object, str], R],
        key_of: Callable[[object], str | None],
        previous: Mapping[str, R],
        encoded: Mapping[str, bytes],
    ) -> None:
        self._kind = kind
        self._parse_one = parse_one
        self._key_of = key_of
        self._previous = previous
        self._encoded_before = encoded
        self.found: dict[str, R] = {}
        """By key: those that can be used, and the last good versions of those that cannot."""
        self.encoded: dict[str, bytes] = {}
        """As what they were made of: a twentieth of its size in memory, and compared at once."""
        self.rejections: list[Rejection] = []
        self.lost: list[_Rejected] = []
        """The rejected ones with no previous version."""

    def read(self, name: str, values: list[Any]) -> None:
        """Read the list of that name; it is empty afterwards."""
        rejected: list[_Rejected] = []
        for index, value in enumerate(breathing(_let_go(values))):
            where, own = f"{name}[{index}]", self._key_of(value)
            try:
                encoded = encode(value)
                if own is not None and self._encoded_before.get(own, b"") == encoded:
                    resource = self._previous[own]
                else:
                    refuse_twice(value, where)
                    resource = self._parse_one(value, where)
                if resource.key in self.found:
                    raise Malformed(f"{where}: {resource.key} is there twice")
            except (Malformed, RecursionError) as exc:
                rejected.append(_Rejected(own, value, where, str(exc)))
            else:
                self.found[resource.key], self.encoded[resource.key] = resource, encoded or b""
        self._settle(rejected)

    def _settle(self, rejected: list[_Rejected]) -> None:
        """Those that were rejected stay as they were, or are lost."""
        for each in rejected:
            key = each.key
            kept = key is not None and (key in self.found or key in self._previous)
            if key is not None and key not in self.found and key in self._previous:
                self.found[key] = self._previous[key]
            if not kept:
                self.lost.append(each)
            self.rejections.append(
                Rejection(kind=self._kind, key=key or each.where, reason=each.reason, kept=kept)
            )


def _let_go(values: list[Any]) -> Iterator[Any]:
    """The values, each out of the list: to free 10,000 at once would hold the interpreter for 10 ms."""
    values.reverse()
    while values:
        yield values.pop()


def _uid(value: object) -> str | None:
    uid = value.get("uid") if isinstance(value, dict) else None
    return uid if _is_key(uid) else None


def _is_key(value: object) -> bool:
    """Whether it can stand in a log line."""
    return isinstance(value, str) and value != "" and value.isprintable()


def _key_of(field: str) -> Callable[[object], str | None]:
    def key(value: object) -> str | None:
        if not isinstance(value, dict):
            return None
        namespace, name = value.get("namespace"), value.get(field)
        return f"{namespace}/{name}" if _is_key(namespace) and _is_key(name) else None

    return key


def _unusable_addresses(lost: list[_Rejected]) -> dict[tuple[str, IPAddress], Unusable]:
    """What can be made out of the addresses of rejected workloads and services."""
    found: dict[tuple[str, IPAddress], Unusable] = {}
    for rejected in lost:
        value = rejected.value
        if not isinstance(value, dict) or value.get("networkMode") == NetworkMode.HOST_NETWORK:
            continue
        given = value.get("network")
        network = given if isinstance(given, str) else ""
        claim = Unusable(reason=rejected.reason, pod=names_a_pod(rejected.key or ""))
        own = [(network, address) for address in _readable(value, "workloadIps", fields.address)]
        for place in (*own, *_readable(value, "vips", addresses.network_address)):
            if place not in found or claim.pod:
                found[place] = claim
    return found


def _unusable_blocks(lost: list[_Rejected]) -> list[tuple[str, IPNetwork, Unusable]]:
    return [
        (*place, Unusable(reason=rejected.reason))
        for rejected in lost
        if isinstance(rejected.value, dict)
        for place in _readable(rejected.value, "cidrVips", addresses.network_block)
    ]


def _readable(value: dict[str, Any], name: str, parse_one: Callable[[object, str], T]) -> list[T]:
    """Those of a rejected resource's list that can be read."""
    listed = value.get(name)
    found = []
    for item in listed if isinstance(listed, list) else []:
        with suppress(Malformed):
            found.append(parse_one(item, name))
    return found


def _unloaded(lost: _Rejected) -> Unloaded | None:
    """What a rejected policy must be taken for; None where it names no namespace or was a dry run."""
    if lost.key is None or not isinstance(lost.value, dict) or lost.value.get("dryRun") is True:
        return None
    scope = action = None
    with suppress(Malformed):
        scope = fields.word(lost.value.get("scope"), "scope", Scope)
    with suppress(Malformed):
        action = fields.word(lost.value.get("action"), "action", Action)
    return Unloaded(key=lost.key, namespace=lost.value["namespace"], scope=scope, action=action)
