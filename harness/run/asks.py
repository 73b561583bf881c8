"""What a bout asks of the load processes: one request per stage, for all of its lanes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from harness.plan import scenarios
from harness.plan.model import Cell, Load, State
from harness.plan.scenarios import Stage
from harness.suite.model import Endpoints
from harness.testbed.lane import Lane
from harness.testbed.testbed import Testbed
from harness.topology.model import APP_PORT, Host, IPAddress, Pod, Service

Target = Pod | Host | Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One cell's way: its lane, the client pod there, and whom that dials."""

    cell: Cell
    lane: Lane
    source: Pod
    target: Target
    sockets: str
    """The socket at which the client's node hands out sockets of its pods."""

    @classmethod
    def of(cls, bed: Testbed, cell: Cell, ends: Endpoints) -> Self:
        """The way of a cell between the ends of its path.

        Raises:
            TypeError: The path's source is no pod, so that no load comes from there.
        """
        lane = bed.lane(cell.lane)
        source = lane.topology.member(ends.source)
        if not isinstance(source, Pod):
            raise TypeError(f"{ends.source} is not a pod, so no load comes from there")
        return cls(
            cell=cell,
            lane=lane,
            source=source,
            target=lane.topology.target(ends.destination),
            sockets=str(bed.layout.sockets(source.node)),
        )

    def document(self, target: Target, address: IPAddress, port: int) -> dict[str, Any]:
        """The lane as the load processes are told of it, dialling a target at an address."""
        backend: dict[str, Any] = {
            "address": str(address),
            "port": port,
            "pod": target.name,
            "node": target.node if isinstance(target, Pod) else "",
        }
        if isinstance(target, Service):
            backend["endpoints"] = {pod.name: pod.node for pod in target.endpoints}
        return {
            "lane": self.lane.number,
            "sockets": self.sockets,
            "namespace": self.source.netns,
            "source": str(self.source.address_of(self.cell.configuration.ip_family)),
            "target": backend,
            "bench_sockets": [],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One stage of a bout's load: which process is asked what."""

    stage: str
    op: str
    arguments: dict[str, Any]
    beside: Ask | None = None
    """What the probe process does while Locust's window is open."""

    def of(self, lane: int) -> dict[str, Any]:
        """What was asked of one lane."""
        own = next(each for each in self.arguments["lanes"] if each["lane"] == lane)
        return {**{key: value for key, value in self.arguments.items() if key != "lanes"}, **own}


def asks(ways: Sequence[Way], load: Load, *, seed: str) -> Iterator[Ask]:
    """What a bout asks of the load processes, in order; a stage of no length is left out.

    Args:
        ways: One per cell.
        load: What each cell is put under.
        seed: From which every stage's own follows.
    """
    common = {"bout": ways[0].cell.name, "response_bytes": load.response_bytes}
    yield Ask(
        stage="probe",
        op="probe",
        arguments={
            **common,
            "seed": f"{seed}/probe",
            "lanes": [_probed(way, load) for way in ways],
            "later_requests": load.later_requests,
            "gap_ns": round(load.gap_ms * 1e6),
            "later_interval_ns": round(load.later_interval_ms * 1e6),
        },
    )
    for stage in scenarios.stages(load):
        yield _ask(stage, ways, common, load.workers, seed)


def _probed(way: Way, load: Load) -> dict[str, Any]:
    configuration = way.cell.configuration
    first = [state for state in configuration.states if state is not State.STEADY]
    return {
        **way.document(way.target, way.target.address_of(configuration.ip_family), APP_PORT),
        "bench_sockets": [str(path) for path in way.lane.bench().values()],
        "states": [
            {
                "state": state.value,
                "count": load.probes,
                "op": "drop-tunnels" if state is State.COLD else "nothing",
            }
            for state in first
        ],
    }


def _ask(stage: Stage, ways: Sequence[Way], common: Mapping[str, Any], workers: int, seed: str) -> Ask:
    arguments = {
        **common,
        "seed": f"{seed}/{stage.name}",
        "lanes": [
            way.document(way.target, way.target.address_of(way.cell.configuration.ip_family), stage.port)
            for way in ways
        ],
        **stage.arguments,
    }
    if not stage.sized:
        del arguments["response_bytes"]
    if workers > 1:
        arguments["workers"] = workers
    beside = _ask(stage.beside, ways, common, 1, seed) if stage.beside else None
    return Ask(stage=stage.name, op=stage.op, arguments=arguments, beside=beside)
