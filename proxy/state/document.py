"""The mesh document: JSON in the shape that ztunnel reads from LOCAL_XDS_PATH.

Each resource stands for itself: a malformed one is rejected with its reason and the others are
used. Its previous version stays in force. Where there is none, it fails closed: its addresses are
refused, and a policy denies what it might have denied.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from proxy.background import breathe
from proxy.rbac import Action, Scope
from proxy.state import addresses, fields, policies
from proxy.state.applying import Unloaded
from proxy.state.fields import Malformed, shown
from proxy.state.mesh import MeshState, Rejection
from proxy.state.model import IPAddress

R = TypeVar("R")

SECTIONS = ("workloads", "services", "policies")


class MalformedDocument(ValueError):
    """The document as a whole cannot be read: nothing of it is used."""


def parse(document: bytes, *, version: int, previous: MeshState | None = None) -> MeshState:
    """Read a document into the next snapshot.

    Args:
        document: JSON, UTF-8.
        version: Of the new snapshot.
        previous: Where rejected resources' last good versions are taken from.

    Raises:
        MalformedDocument: No JSON, or not an object of the three lists.
    """
    sections = _sections(document)
    old = previous or MeshState()
    before = {name: old.written.get(name, {}) for name in SECTIONS}
    workloads = _Section(
        "workload",
        "workloads",
        addresses.workload,
        _uid,
        previous=old.workloads,
        written=before["workloads"],
    )
    services = _Section(
        "service",
        "services",
        addresses.service,
        _key_of("hostname"),
        previous=old.services,
        written=before["services"],
    )
    rules = _Section(
        "policy",
        "policies",
        policies.policy,
        _key_of("name"),
        previous=old.policies,
        written=before["policies"],
    )
    read_workloads = workloads.read(sections["workloads"], lambda workload: workload.uid)
    read_services = services.read(sections["services"], lambda service: service.key)
    read_policies = rules.read(sections["policies"], lambda policy: policy.key)
    unusable: dict[tuple[str, IPAddress], str] = {}
    for rejected in (*workloads.lost, *services.lost):
        unusable.update(dict.fromkeys(_addresses(rejected.value), rejected.reason))
    return MeshState(
        version=version,
        workloads=read_workloads.values(),
        services=read_services.values(),
        policies=read_policies.values(),
        rejections=[*workloads.rejections, *services.rejections, *rules.rejections],
        unloaded=[unloaded for lost in rules.lost if (unloaded := _unloaded(lost)) is not None],
        unusable=unusable,
        written={section.name: section.written for section in (workloads, services, rules)},
        previous=previous,
    )


def _sections(document: bytes) -> dict[str, list[object]]:
    try:
        value = json.loads(document, object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError) as exc:
        raise MalformedDocument(f"no JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise MalformedDocument(f"{shown(value)} is no object with {', '.join(SECTIONS)}")
    unknown = sorted(set(value) - set(SECTIONS))
    if unknown:
        raise MalformedDocument(f"unknown section {shown(unknown[0])}; known: {', '.join(SECTIONS)}")
    sections = {}
    for name in SECTIONS:
        section = value.get(name, [])
        if not isinstance(section, list):
            raise MalformedDocument(f"{name}: {shown(section)} is no list")
        sections[name] = section
    return sections


class _Twice(dict[str, Any]):
    """An object in which a key came twice: of two readers, each might take another one."""

    twice: str
    __hash__ = dict.__hash__

    def __eq__(self, other: object) -> bool:
        return False  # as it was is not how it is written now


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    breathe()
    value: dict[str, Any] = dict(pairs)
    if len(value) == len(pairs):
        return value
    marked = _Twice(value)
    [(marked.twice, _)] = Counter(key for key, _ in pairs).most_common(1)
    return marked


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


@dataclass(frozen=True, slots=True)
class _Lost:
    """A rejected resource with no previous version."""

    value: object
    reason: str


class _Section(Generic[R]):
    """Reads one list, resource by resource."""

    def __init__(
        self,
        kind: str,
        name: str,
        parse_one: Callable[[object, str], R],
        key_of: Callable[[object], str | None],
        *,
        previous: dict[str, R],
        written: Mapping[str, object],
    ) -> None:
        self.kind = kind
        self.name = name
        self.parse_one = parse_one
        self.key_of = key_of
        self.previous = previous
        self.written_before = written
        self.written: dict[str, object] = {}
        """What was read, as it was written: what is written the same the next time is not read again."""
        self.rejections: list[Rejection] = []
        self.lost: list[_Lost] = []

    def read(self, values: Iterable[object], key: Callable[[R], str]) -> dict[str, R]:
        """Those that can be used, and the last good versions of those that cannot."""
        found: dict[str, R] = {}
        rejected: list[tuple[object, str, str]] = []
        for index, value in enumerate(values):
            breathe()
            where = f"{self.name}[{index}]"
            try:
                resource = self._read_one(value, where)
                if key(resource) in found:
                    raise Malformed(f"{where}: {key(resource)} is there twice")
            except (Malformed, RecursionError) as exc:
                rejected.append((value, where, str(exc)))
            else:
                own = key(resource)
                found[own] = resource
                # As it was before if it says the same: what is read here is let go of here, and not when
                # the snapshot is replaced, beside the traffic.
                same = self.previous.get(own) is resource
                self.written[own] = self.written_before[own] if same else value
        for value, where, reason in rejected:
            name = self.key_of(value)
            kept = name is not None and (name in found or name in self.previous)
            if name is not None and name not in found and name in self.previous:
                found[name] = self.previous[name]
            if not kept:
                self.lost.append(_Lost(value, reason))
            self.rejections.append(Rejection(kind=self.kind, key=name or where, reason=reason, kept=kept))
        return found

    def _read_one(self, value: object, where: str) -> R:
        name = self.key_of(value)
        if name is not None and name in self.previous and self.written_before.get(name) == value:
            return self.previous[name]
        _refuse_twice(value, where)
        return self.parse_one(value, where)


def _refuse_twice(value: object, where: str) -> None:
    if isinstance(value, _Twice):
        raise Malformed(f"{where}: {shown(value.twice)} is there twice")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_twice(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_twice(inner, f"{where}[{index}]")


def _uid(value: object) -> str | None:
    uid = value.get("uid") if isinstance(value, dict) else None
    return uid if isinstance(uid, str) and uid else None


def _key_of(field: str) -> Callable[[object], str | None]:
    def key(value: object) -> str | None:
        if not isinstance(value, dict):
            return None
        namespace, name = value.get("namespace"), value.get(field)
        if not (isinstance(namespace, str) and namespace and isinstance(name, str) and name):
            return None
        return f"{namespace}/{name}"

    return key


def _addresses(value: object) -> list[tuple[str, IPAddress]]:
    """What can be made out of a rejected workload's or service's addresses."""
    if not isinstance(value, dict):
        return []
    found = []
    network = value.get("network", "")
    for name, parse_one in (("workloadIps", fields.address), ("vips", addresses.network_address)):
        listed = value.get(name)
        for item in listed if isinstance(listed, list) else []:
            with suppress(Malformed):
                read = parse_one(item, name)
                found.append(
                    read if isinstance(read, tuple) else (network if isinstance(network, str) else "", read)
                )
    return found


def _unloaded(lost: _Lost) -> Unloaded | None:
    """What a rejected policy must be taken for; None where it names no namespace or was a dry run."""
    key = _key_of("name")(lost.value)
    if key is None or not isinstance(lost.value, dict) or lost.value.get("dryRun") is True:
        return None
    scope = action = None
    with suppress(Malformed):
        scope = fields.word(lost.value.get("scope"), "scope", Scope)
    with suppress(Malformed):
        action = fields.word(lost.value.get("action"), "action", Action)
    return Unloaded(key=key, namespace=lost.value["namespace"], scope=scope, action=action)
