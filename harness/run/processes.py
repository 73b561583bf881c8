"""Which processes make up each component of a cell's path."""

from __future__ import annotations

from harness.engines.api import Member, Role
from harness.evidence.sources.cpu import Component
from harness.plan.model import Configuration
from harness.testbed.testbed import Testbed
from harness.topology.model import Host, Pod, Service


class Processes:
    """The processes of a testbed by pid, asked of its engine once: a member that ends, ends the run."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._pids: dict[str, int] | None = None

    def of(
        self, source: Pod, target: Pod | Host | Service, configuration: Configuration
    ) -> dict[Component, list[int]]:
        """Component -> its processes; one that the path does not have is absent."""
        if self._pids is None:
            self._pids = dict(self._bed.engine.pids())
        return {
            component: [self._pids[name] for name in names if name in self._pids]
            for component, names in components(self._bed.members, source, target, configuration).items()
        }


def components(
    members: tuple[Member, ...], source: Pod, target: Pod | Host | Service, configuration: Configuration
) -> dict[Component, list[str]]:
    """Component -> names of its members; of a service, those of all its endpoints."""
    targets = target.endpoints if isinstance(target, Service) else (target,)
    found = {
        Component.GENERATOR: _named(members, Role.LOAD, "namespace", {source.netns}),
        Component.BACKEND: _named(members, Role.APP, "namespace", {each.netns for each in targets}),
    }
    if configuration.dataplane == "none":
        return found
    near = {source.node} if source.captured else set()
    far = {each.node for each in targets if isinstance(each, Pod) and each.captured}
    proxies = {
        Component.PROXY_OF_BOTH: near & far,
        Component.SOURCE_PROXY: near - far,
        Component.DESTINATION_PROXY: far - near,
    }
    return found | {
        component: _named(members, Role.ZTUNNEL, "node", nodes)
        for component, nodes in proxies.items()
        if nodes
    }


def _named(members: tuple[Member, ...], role: Role, where: str, wanted: set[str]) -> list[str]:
    return [member.name for member in members if member.role is role and getattr(member, where) in wanted]
