"""From a suite as written to `Suite`: what no single key can tell is checked here."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from harness import dataplanes as slots
from harness.plan import scenarios
from harness.plan.model import Configuration, Interception, Load, Path, Reuse, SameNode
from harness.suite import raw, sources
from harness.suite.gates import Unknown, gate
from harness.suite.matrix import configurations, simplest
from harness.suite.model import Endpoints, Suite, Thresholds
from harness.suite.problems import Key, Problem, SuiteError, from_validation, nearest, shown
from harness.topology.allocator import TopologyError
from harness.topology.allocator import resolve as allocate
from harness.topology.model import (
    HostSpec,
    IpFamily,
    NodeSpec,
    PodSpec,
    PolicySpec,
    ServiceSpec,
    TopologySpec,
)

WITHOUT_SERVICES = {"none", "envoy"}
"""Data planes that send a connection where it was dialled to: a virtual address is nobody's."""


def load_suite(
    name: str | FilePath, overrides: Sequence[str] = (), *, dataplanes: Collection[str] | None = None
) -> Suite:
    """Read, check and resolve a suite.

    Args:
        name: A path, or the bare name of a suite in ./suites or in this checkout.
        overrides: `key=value` each, as given with `-s`.
        dataplanes: Known data planes; by default those that `harness.dataplanes` holds.

    Raises:
        SuiteError: With every problem that was found.
    """
    path = sources.find_suite(name)
    merged = sources.read(path, overrides)
    known = set(dataplanes) if dataplanes is not None else known_dataplanes()
    suite = _Resolver(merged, known).suite(_validated(merged))
    return replace(suite, name=path.stem, file=str(name), overrides=tuple(overrides))


def known_dataplanes() -> set[str]:
    """Names of the data planes: the files of their folder, none of them imported."""
    return {
        module.name
        for module in pkgutil.iter_modules(slots.__path__)
        if not module.name.startswith("_") and module.name not in {"api", "model"}
    }


def _validated(merged: sources.Merged) -> raw.RawSuite:
    try:
        # JSON mode: strict about numbers and booleans, and still reads words and networks from strings
        return raw.RawSuite.model_validate_json(json.dumps(merged.document, default=str))
    except ValidationError as exc:
        raise from_validation(exc, raw.json_schema(), merged.where, merged.document) from exc


class _Resolver:
    """One suite on its way to be usable; gathers problems instead of stopping at the first."""

    def __init__(self, merged: sources.Merged, dataplanes: Collection[str]) -> None:
        self._merged = merged
        self._dataplanes = sorted(dataplanes)
        self._problems: list[Problem] = []

    def suite(self, written: raw.RawSuite) -> Suite:
        topology = self._topology(written.topology)
        paths = self._paths(written, topology)
        default = self._default(written)
        found = tuple(self._configurations(written, default))
        self._check_paths_are_there(found, paths)
        self._check_families_are_there(found, paths, topology)
        self._check_gates(written.thresholds.gates)
        if not found:
            self._note(("matrix",), "no combination is left: `exclude` takes them all")
        if written.twin and written.lanes < 2:
            self._note(("lanes",), "found 1 with twin = true", "2 or more, or twin = false")
        if self._problems:
            raise SuiteError(self._problems)
        return Suite(
            name="",
            description=written.description,
            file="",
            overrides=(),
            topology=topology,
            paths=paths,
            configurations=found,
            default=default or _first_meshed(found),
            load=_load(written.load),
            rounds=written.rounds,
            most_rounds=max(written.rounds, written.most_rounds),
            minutes=written.minutes,
            lanes=written.lanes,
            twin=written.twin,
            seed=written.seed,
            thresholds=Thresholds(
                resolution_percent=written.thresholds.resolution_percent,
                later_percent=written.thresholds.later_percent,
                gates=tuple(written.thresholds.gates),
            ),
        )

    def _note(self, key: Key, found: str, allowed: str = "", meant: str | None = None) -> None:
        self._problems.append(
            Problem(where=self._merged.where(key), key=shown(key), found=found, allowed=allowed, meant=meant)
        )

    def _unknown(self, key: Key, kind: str, word: str, known: Collection[str]) -> None:
        self._note(key, f"unknown {kind} {word!r}", ", ".join(sorted(known)), nearest(word, known))

    def _topology(self, written: raw.RawTopology) -> TopologySpec:
        dual = IpFamily.IPV6 in written.ip_families
        if IpFamily.IPV4 not in written.ip_families:
            self._note(("topology", "ip_families"), "found IPv6 alone", '["ipv4"], ["ipv4", "ipv6"]')
        spec = TopologySpec(
            nodes=tuple(NodeSpec(name=name) for name in written.nodes),
            pods=tuple(
                PodSpec(
                    name=name,
                    node=pod.node,
                    namespace=pod.namespace,
                    service_account=pod.service_account or "",
                    captured=pod.captured,
                    client=pod.client,
                    ipv6=pod.ipv6,
                    backend=pod.backend,
                )
                for name, pod in written.pods.items()
            ),
            hosts=tuple(HostSpec(name=name) for name in written.hosts),
            policies=tuple(self._policy(name, policy, written) for name, policy in written.policies.items()),
            services=tuple(
                ServiceSpec(name=name, endpoints=tuple(service.endpoints))
                for name, service in written.services.items()
            ),
            underlay=written.underlay,
            pods_supernet=written.pods_supernet,
            underlay6=written.underlay6 if dual else None,
            pods_supernet6=written.pods_supernet6 if dual else None,
        )
        before = len(self._problems)
        for pod in spec.pods:
            if pod.node not in written.nodes:
                self._unknown(("topology", "pods", pod.name, "node"), "node", pod.node, written.nodes)
        if len(self._problems) == before:
            try:
                allocate(spec)
            except TopologyError as exc:
                self._note(("topology",), str(exc))
        return spec

    def _policy(self, name: str, policy: raw.RawPolicy, topology: raw.RawTopology) -> PolicySpec:
        key = ("topology", "policies", name)
        namespaces = {pod.namespace for pod in topology.pods.values()}
        if policy.scope == "Namespace" and policy.namespace not in namespaces:
            self._unknown((*key, "namespace"), "namespace", policy.namespace, namespaces)
        if policy.scope == "Global" and policy.namespace:
            self._note((*key, "namespace"), f"found {policy.namespace!r}", "empty, where scope is Global")
        if policy.scope == "WorkloadSelector":
            self._note(
                (*key, "scope"),
                "found 'WorkloadSelector', but no pod can name its policies",
                "Namespace, Global",
            )
        document = policy.model_dump(mode="json", by_alias=True, exclude_none=True)
        return PolicySpec(name=name, document={"name": name, **document})

    def _paths(self, written: raw.RawSuite, spec: TopologySpec) -> dict[Path, Endpoints]:
        pods = {pod.name: pod for pod in spec.pods}
        hosts = {host.name for host in spec.hosts}
        services = {service.name for service in spec.services}
        paths = {}
        for path, ends in written.paths.items():
            key: Key = ("paths", path.value)
            clients = [name for name, pod in pods.items() if pod.client]
            servers = [name for name, pod in pods.items() if pod.backend and not pod.client] + sorted(hosts)
            if path is Path.SERVICE:
                servers = sorted(services)
            if ends.source not in pods:
                self._unknown((*key, "from"), "pod", ends.source, clients)
            elif ends.source not in clients:
                self._note((*key, "from"), f"pod {ends.source!r} has no client = true", ", ".join(clients))
            elif path is Path.SERVICE and ends.destination not in services:
                self._unknown((*key, "to"), "service", ends.destination, servers)
            elif path is not Path.SERVICE and ends.destination not in {*pods, *hosts}:
                self._unknown((*key, "to"), "pod or host", ends.destination, servers)
            elif ends.destination not in servers:
                does = "runs the load" if ends.destination in clients else "has backend = false"
                self._note((*key, "to"), f"pod {ends.destination!r} {does}", ", ".join(servers))
            else:
                wrong = _mismatch(path, pods[ends.source], pods.get(ends.destination))
                if wrong:
                    self._note(key, f"{ends.source} -> {ends.destination}: {wrong}")
            paths[path] = Endpoints(source=ends.source, destination=ends.destination)
        return paths

    def _default(self, written: raw.RawSuite) -> Configuration | None:
        if written.default is None:
            if written.vary:
                self._note(("default",), "missing", "a table of factors that `vary` departs from")
            return None
        return simplest(Configuration(**written.default.model_dump()))

    def _configurations(
        self, written: raw.RawSuite, default: Configuration | None
    ) -> Iterator[Configuration]:
        seen: set[Configuration] = set()
        for key, found in configurations(written, default, self._problem_at):
            if found.dataplane not in self._dataplanes:
                self._unknown((*key, "dataplane"), "data plane", found.dataplane, self._dataplanes)
            elif found.dataplane != "none" and found.interception is Interception.NONE:
                self._note(
                    (*key, "interception"),
                    f"data plane {found.dataplane!r} needs captured traffic",
                    ", ".join(level.value for level in Interception if level is not Interception.NONE),
                )
            elif found not in seen:
                seen.add(found)
                self._check_dataplane_knows(key, found)
                yield found

    def _check_dataplane_knows(self, key: Key, found: Configuration) -> None:
        if found.path is Path.SERVICE and found.dataplane in WITHOUT_SERVICES:
            what = f"data plane {found.dataplane!r} resolves no service's address"
            self._note((*key, "dataplane"), what, ", ".join(sorted(set(self._dataplanes) - WITHOUT_SERVICES)))
        only = slots.named(found.dataplane).ONLY if found.dataplane in slots.known() else {}
        for factor, value in only.items():
            if getattr(found, factor) != value:
                what = f"data plane {found.dataplane!r} does not know {str(getattr(found, factor))!r}"
                self._note((*key, factor), what, str(value))

    def _problem_at(self, key: Key, found: str, allowed: str, word: str) -> None:
        self._note(key, found, allowed, nearest(word, allowed.split(", ")))

    def _check_paths_are_there(self, found: Sequence[Configuration], paths: Mapping[Path, Endpoints]) -> None:
        for path in dict.fromkeys(configuration.path for configuration in found):
            if path not in paths:
                self._note(
                    ("paths",),
                    f"{path.value!r} is measured, but has no ends",
                    f"[paths.{path.value}] with from and to",
                )

    def _check_families_are_there(
        self, found: Sequence[Configuration], paths: Mapping[Path, Endpoints], spec: TopologySpec
    ) -> None:
        over_ipv6 = dict.fromkeys(each.path for each in found if each.ip_family is IpFamily.IPV6)
        if over_ipv6 and spec.underlay6 is None:
            self._note(
                ("topology", "ip_families"), "ipv6 is measured, but the topology has none", '["ipv4", "ipv6"]'
            )
        without = {pod.name for pod in spec.pods if not pod.ipv6}
        for path in over_ipv6:
            ends = paths.get(path)
            lacking = without & {ends.source, ends.destination} if ends else set()
            if lacking:
                self._note(
                    ("paths", path.value),
                    f"ipv6 is measured on {path.value!r}, but {', '.join(sorted(lacking))} has ipv6 = false",
                    "pods with IPv6",
                )

    def _check_gates(self, gates: Sequence[str]) -> None:
        for index, text in enumerate(gates):
            try:
                gate(text)
            except Unknown as exc:
                self._problem_at(("thresholds", "gates", index), exc.found, exc.allowed, exc.word)


def _mismatch(path: Path, source: PodSpec, destination: PodSpec | None) -> str:
    """Why two ends do not make that path; empty when they do."""
    meshed = destination is not None and destination.captured
    together = destination is not None and source.node == destination.node
    rules = {
        Path.SERVICE: [
            (not source.captured, f"only a proxy resolves a service's address, and {source.name} has none")
        ],
        Path.INTO_MESH: [
            (source.captured, f"into the mesh means from outside, but {source.name} is captured"),
            (not meshed, "into the mesh needs a captured pod as destination"),
        ],
        Path.OUT_OF_MESH: [
            (not source.captured, f"out of mesh needs a captured source, and {source.name} is not"),
            (meshed, "out of mesh means to a host or to a pod with captured = false"),
        ],
        Path.SAME_NODE: [
            (not source.captured, f"same-node needs a captured source, and {source.name} is not"),
            (not meshed, "same-node needs a captured pod as destination"),
            (not together, "the two are on different nodes"),
        ],
        Path.CROSS_NODE: [
            (not source.captured, f"cross-node needs a captured source, and {source.name} is not"),
            (not meshed, "cross-node needs a captured pod as destination"),
            (together, f"both are on node {source.node}; a cross-node path needs two nodes"),
        ],
    }
    return next((why for wrong, why in rules[path] if wrong), "")


def _first_meshed(found: Sequence[Configuration]) -> Configuration:
    """What the report speaks about when the suite names no default: tunnels if there are any, reused."""
    ranked = sorted(
        found,
        key=lambda each: (
            each.dataplane == "none",
            each.path is not Path.CROSS_NODE,
            each.reuse is not Reuse.ON,
            each.same_node is SameNode.PLAINTEXT,
            len(each.tuning),
            each.ip_family,
            each.rtt_ms,
        ),
    )
    return ranked[0]


def _load(written: raw.RawLoad) -> Load:
    first, rate = written.first_packet, written.rate
    return Load(
        probes=first.probes,
        later_requests=first.later_requests,
        gap_ms=first.gap_ms,
        later_interval_ms=first.later_interval_ms,
        rate_hz=rate.hz,
        rate_s=rate.seconds,
        rate_connections=rate.connections,
        requests_connections=written.requests.connections,
        requests_s=written.requests.seconds,
        transfer_streams=written.transfer.streams,
        transfer_s=written.transfer.seconds,
        response_bytes=written.response_bytes,
        rtt_s=written.rtt.seconds,
        alone_s=written.alone.seconds,
        connects_at_once=written.connects.connections,
        connects_s=written.connects.seconds,
        rate_arrivals=rate.arrivals,
        workers=written.workers,
        scenarios=dict(_scenarios(written)),
    )


def _scenarios(written: raw.RawLoad) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in scenarios.keyed():
        asked = getattr(written, name.replace("-", "_"))
        if asked is not None:
            yield name, asked.model_dump(mode="json")


def document(suite: Suite) -> dict[str, Any]:
    """What `validate` prints: the resolved suite, where it came from, what may not be meant."""
    return {
        "file": suite.file,
        "overrides": list(suite.overrides),
        "hash": suite.hash,
        "notes": list(suite.notes),
        **suite.document(),
    }
