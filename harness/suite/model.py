"""A suite as usable: topology, paths, configurations, load, rounds, thresholds. Pure values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.plan.document import configuration_to_document, load_to_document
from harness.plan.model import Configuration, Load, Path
from harness.topology.model import TopologySpec

ROUNDS_FOR_AN_INTERVAL = 6
"""Fewest rounds whose paired differences give a 95 % interval.

The exact intervals of n values (sign test, signed-rank test) are widest from the least to the greatest;
they cover the centre with probability 1 - 2 / 2**n, which passes 95 % at n = 6 (96.9 %).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Who talks to whom on a path: a client pod, and a pod or host."""

    source: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What counts as a difference. Per cent."""

    resolution_percent: float
    """A comparison whose whole interval is smaller than this is no difference in practice."""
    later_percent: float
    """The same for later packets, which are measured far more closely."""
    gates: tuple[str, ...] = ()
    """What has to hold, as `harness.suite.gates.gate` reads it; else the exit code says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Everything that a run needs to know, nothing left to look up."""

    name: str
    description: str
    file: str
    """The file that was read, as the user may write it again."""
    overrides: tuple[str, ...]
    topology: TopologySpec
    paths: Mapping[Path, Endpoints]
    configurations: tuple[Configuration, ...]
    """Each once, in the order of the file."""
    default: Configuration
    """What `vary` departs from and what the report's first sentences speak about."""
    load: Load
    rounds: int
    """As many at least."""
    most_rounds: int
    """Rounds are added up to this many while a question is open; at least `rounds`."""
    minutes: float
    """No round begins after so many minutes of measuring once there are `rounds`; 0: no limit."""
    lanes: int
    """Most configurations that are measured in turns."""
    twin: bool
    """Whether each bout holds its reference twice, as its A/A control."""
    seed: int | None
    """None: drawn and recorded when the plan is made."""
    thresholds: Thresholds

    def document(self) -> dict[str, Any]:
        """The suite as JSON types; the same for the same suite, whatever file it came from."""
        spec = self.topology
        return {
            "name": self.name,
            "description": self.description,
            "rounds": self.rounds,
            "most_rounds": self.most_rounds,
            "minutes": self.minutes,
            "lanes": self.lanes,
            "twin": self.twin,
            "seed": self.seed,
            "topology": {
                "underlay": str(spec.underlay),
                "pods_supernet": str(spec.pods_supernet),
                **(
                    {"underlay6": str(spec.underlay6), "pods_supernet6": str(spec.pods_supernet6)}
                    if spec.underlay6 is not None
                    else {}
                ),
                "nodes": [node.name for node in spec.nodes],
                "hosts": [host.name for host in spec.hosts],
                "pods": {
                    pod.name: {
                        key: value
                        for key, value in asdict(pod).items()
                        # said where it means something, so that an IPv4 suite is what it was
                        if key != "name" and (key != "ipv6" or spec.underlay6 is not None)
                    }
                    for pod in spec.pods
                },
                "policies": {policy.name: policy.document for policy in spec.policies},
                **(
                    {"services": {service.name: list(service.endpoints) for service in spec.services}}
                    if spec.services
                    else {}
                ),
            },
            "paths": {
                path.value: {"from": ends.source, "to": ends.destination} for path, ends in self.paths.items()
            },
            "default": configuration_to_document(self.default),
            "configurations": [configuration_to_document(each) for each in self.configurations],
            "load": load_to_document(self.load),
            "thresholds": asdict(self.thresholds),
        }

    @property
    def hash(self) -> str:
        """SHA-256 of what is measured; name, description, seed, rounds and gates do not change that."""
        measured = {
            key: value
            for key, value in self.document().items()
            if key not in {"name", "description", "seed", "rounds", "most_rounds", "minutes"}
        }
        measured["thresholds"] = {
            key: value for key, value in measured["thresholds"].items() if key != "gates"
        }
        return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is allowed but probably not what was meant."""
        notes = []
        if self.rounds < ROUNDS_FOR_AN_INTERVAL:
            notes.append(
                f"rounds = {self.rounds}: fewer than {ROUNDS_FOR_AN_INTERVAL} rounds give no 95 % interval, "
                "so the report will claim no difference between configurations"
            )
        if self.load.probes < 20:
            notes.append(
                f"load.first_packet.probes = {self.load.probes}: a median needs 20 probes of a state per cell"
            )
        return tuple(notes)
