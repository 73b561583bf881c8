"""What is kept of a run so that others can be held against it: a few kilobytes, no samples.

An excerpt is cut from a run's findings. Runs that are compared, baselines, the history that `trend`
reads and the recording that calibrates the statistics are all of this one form.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from harness.analysis.compare import Rounds, Side, Values, by_round
from harness.analysis.findings import Findings, resolution
from harness.plan.document import configuration_from_document, configuration_to_document
from harness.plan.model import Configuration, Interception, Path
from harness.results import machine

EXCERPT_SCHEMA = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What has to be alike for two runs to be comparable; the code under test is no part of it."""

    suite: str
    """Hash of what is measured."""
    topology: str
    """Hash of nodes, pods, hosts and policies."""
    engine: str
    kernel: str
    machine: str
    """CPU, cores and memory."""
    applier: str
    """How the rules were written: python-iptables or iptables-restore."""

    @property
    def environment(self) -> str:
        """A short name for the environment alone, by which baselines are kept."""
        parts = {key: value for key, value in asdict(self).items() if key not in {"suite", "topology"}}
        return _hash(parts)[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One metric of one configuration."""

    side: Side
    unit: str
    values: Values
    """By round and bout."""
    percentiles: Mapping[str, Mapping[str, float | None] | None]
    """Name -> value, low, high; None where the samples were too few."""
    samples: int
    at_least: str
    """Why it is a bound and no value: the load generator was the limit. Mostly empty."""

    @property
    def per_round(self) -> Rounds:
        """One value per round."""
        return by_round(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A run without its samples."""

    run: str
    suite: str
    started: str
    """UTC, ISO 8601."""
    commit: str
    complete: bool
    fingerprint: Fingerprint
    resolution: Mapping[str, float]
    """Metric -> smallest ratio above 1 that mattered to its suite."""
    default: str
    configurations: tuple[Configuration, ...]
    noise: Mapping[str, float]
    """Metric -> ratio, at or above 1, by which two equal configurations differed in that run."""
    measures: Mapping[Side, Kept]

    @property
    def shelf(self) -> str:
        """Where it is kept among the baselines: with what it may be compared."""
        return f"{self.fingerprint.environment}/{self.suite}-{self.fingerprint.suite[:8]}"

    @property
    def values(self) -> dict[Side, Values]:
        """Of every side, as comparisons take them."""
        return {side: kept.values for side, kept in self.measures.items()}

    @property
    def limited(self) -> dict[Side, str]:
        """Sides whose figures are the generator's, with the reason."""
        return {side: kept.at_least for side, kept in self.measures.items() if kept.at_least}

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "schema_version": EXCERPT_SCHEMA,
            "run": self.run,
            "suite": self.suite,
            "started": self.started,
            "commit": self.commit,
            "complete": self.complete,
            "fingerprint": asdict(self.fingerprint),
            "resolution": dict(self.resolution),
            "default": self.default,
            "configurations": [asdict(each) for each in self.configurations],
            "noise": dict(self.noise),
            "measures": [
                {
                    "configuration": each.side.configuration,
                    "metric": each.side.metric,
                    "unit": each.unit,
                    "samples": each.samples,
                    "at_least": each.at_least,
                    "percentiles": {
                        name: {end: _short(value) for end, value in found.items()} if found else None
                        for name, found in each.percentiles.items()
                    },
                    "values": [
                        [number, bout, _short(value)] for (number, bout), value in each.values.items()
                    ],
                }
                for each in self.measures.values()
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """As read.

        Raises:
            KeyError, TypeError, ValueError: It does not have this form.
        """
        if document["schema_version"] != EXCERPT_SCHEMA:
            raise ValueError(
                f"schema_version {document['schema_version']}, this version reads {EXCERPT_SCHEMA}"
            )
        return cls(
            run=str(document["run"]),
            suite=str(document["suite"]),
            started=str(document["started"]),
            commit=str(document["commit"]),
            complete=bool(document["complete"]),
            fingerprint=Fingerprint(**document["fingerprint"]),
            resolution=document["resolution"],
            default=str(document["default"]),
            configurations=tuple(map(_configuration, document["configurations"])),
            noise=document["noise"],
            measures={kept.side: kept for kept in map(_kept, document["measures"])},
        )


def excerpt(findings: Findings) -> Excerpt:
    """Cut the excerpt from a run's findings."""
    run, manifest = findings.run, findings.run.manifest
    suite = manifest.suite
    host = run.environment.get("host", {})
    agents = manifest.members.get("agents", {}).values()
    return Excerpt(
        run=manifest.run,
        suite=str(suite["name"]),
        started=manifest.started.wall,
        commit=str(run.environment.get("source", {}).get("commit") or ""),
        complete=manifest.status.value == "complete",
        fingerprint=Fingerprint(
            suite=manifest.suite_hash[:16],
            topology=_hash(suite["topology"])[:16],
            engine=manifest.engine,
            kernel=str(host.get("kernel")),
            machine=machine.in_words(host),
            applier=", ".join(sorted({str(agent.get("applier", "unknown")) for agent in agents}))
            or "unknown",
        ),
        resolution=resolution(suite["thresholds"]),
        default=findings.default.key,
        configurations=findings.measured,
        noise=findings.control.noise_by_metric,
        measures={kept.side: kept for kept in _measures(findings)},
    )


def _measures(findings: Findings) -> Iterator[Kept]:
    for measure in findings.measures.values():
        if measure.values:
            yield _kept(measure.document())


def _kept(document: Mapping[str, Any]) -> Kept:
    return Kept(
        side=Side(configuration=document["configuration"], metric=document["metric"]),
        unit=str(document["unit"]),
        values={(int(number), int(bout)): float(value) for number, bout, value in document["values"]},
        percentiles=document["percentiles"],
        samples=int(document["samples"]),
        at_least=str(document["at_least"]),
    )


def _configuration(document: Mapping[str, Any]) -> Configuration:
    """A configuration whose factors may be fewer than today's: a later factor was at its default then."""
    usual = Configuration(
        path=Path(document["path"]),
        dataplane=str(document["dataplane"]),
        interception=Interception(document["interception"]),
    )
    return configuration_from_document({**configuration_to_document(usual), **document})


def _hash(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _short(value: float | None) -> float | None:
    """Six digits: a millionth is far below any noise here, and files that are committed stay small."""
    return None if value is None else float(f"{value:.6g}")
