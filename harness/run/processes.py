"""Which processes make up each component of a cell's path."""

from __future__ import annotations

from collections.abc import Mapping

from harness.engines.api import Member, Role
from harness.evidence.sources.cpu import Component
from harness.evidence.sources.starts import started_ns
from harness.plan.model import Configuration
from harness.testbed.testbed import Testbed
from harness.topology.model import Host, Pod, Service


class Processes:
    """The processes of a testbed by pid, asked of its engine when its members are others than before."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._members: tuple[Member, ...] = ()
        self._pids: Mapping[str, int] = {}

    def starts(self, lane: int) -> dict[str, int]:
        """Member that carries a lane -> when it began, CLOCK_BOOTTIME, ns."""
        self._look()
        carrying = (
            member.name for member in self._members if member.role is Role.ZTUNNEL and member.lane == lane
        )
        return {name: started_ns(self._pids[name]) for name in carrying if name in self._pids}

    def of(
        self,
        source: Pod,
        target: Pod | Host | Service,
        configuration: Configuration,
        *,
        alone: bool,
    ) -> dict[Component, list[int]]:
        """Component -> its processes; one that the path does not have, or not to itself, is absent.

        Args:
            source: Where the load comes from.
            target: Where it goes.
            configuration: Of the lane's cell.
            alone: Whether the bout has this lane only, so that whatever all lanes share works for it.
        """
        self._look()
        found = components(self._members, source, target, configuration)
        return {
            component: [self._pids[name] for name in names if name in self._pids]
            for component, names in found.items()
            if alone or not _shared(component, target)
        }

    def _look(self) -> None:
        if self._members is not self._bed.members:
            self._members, self._pids = self._bed.members, self._bed.engine.pids()


def _shared(component: Component, target: Pod | Host | Service) -> bool:
    """Whether its processes work for every lane of a bout, and nobody can tell for which how much."""
    return component is Component.GENERATOR or (component is Component.BACKEND and isinstance(target, Host))


def components(
    members: tuple[Member, ...], source: Pod, target: Pod | Host | Service, configuration: Configuration
) -> dict[Component, list[str]]:
    """Component -> names of its members; of a service, those of all its endpoints."""
    targets = target.endpoints if isinstance(target, Service) else (target,)
    found = {
        Component.GENERATOR: [member.name for member in members if member.role is Role.LOAD],
        Component.BACKEND: _named(members, Role.APP, "namespace", {each.netns for each in targets}),
    }
    if configuration.dataplane == "none":
        return found
    carrying = tuple(member for member in members if member.lane == source.lane)
    near = {source.node} if source.captured else set()
    far = {each.node for each in targets if isinstance(each, Pod) and each.captured}
    proxies = {
        Component.PROXY_OF_BOTH: near & far,
        Component.SOURCE_PROXY: near - far,
        Component.DESTINATION_PROXY: far - near,
    }
    return found | {
        component: _named(carrying, Role.ZTUNNEL, "node", nodes)
        for component, nodes in proxies.items()
        if nodes
    }


def _named(members: tuple[Member, ...], role: Role, where: str, wanted: set[str]) -> list[str]:
    return [member.name for member in members if member.role is role and getattr(member, where) in wanted]
