"""Which processes make up each component of a cell's path."""

from __future__ import annotations

from harness.engines.api import Member, Role
from harness.evidence.sources.cpu import Component
from harness.plan.model import Configuration
from harness.testbed.testbed import Testbed
from harness.topology.model import Host, Pod


class Processes:
    """The processes of a testbed by pid, asked of its engine once: a member that ends, ends the run."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed
        self._pids: dict[str, int] | None = None

    def of(self, source: Pod, target: Pod | Host, configuration: Configuration) -> dict[Component, list[int]]:
        """Component -> its processes; one that the path does not have is absent."""
        if self._pids is None:
            self._pids = dict(self._bed.engine.pids())
        return {
            component: [self._pids[name] for name in names if name in self._pids]
            for component, names in components(self._bed.members, source, target, configuration).items()
        }


def components(
    members: tuple[Member, ...], source: Pod, target: Pod | Host, configuration: Configuration
) -> dict[Component, list[str]]:
    """Component -> names of its members."""
    found = {
        Component.GENERATOR: _named(members, Role.LOAD, namespace=source.netns),
        Component.BACKEND: _named(members, Role.APP, namespace=target.netns),
    }
    if configuration.dataplane == "none":
        return found
    ends = [end.node for end in (source, target) if isinstance(end, Pod) and end.captured]
    if len(ends) > len(set(ends)):
        return found | {Component.PROXY_OF_BOTH: _named(members, Role.ZTUNNEL, node=ends[0])}
    for component, end in ((Component.SOURCE_PROXY, source), (Component.DESTINATION_PROXY, target)):
        if isinstance(end, Pod) and end.captured:
            found[component] = _named(members, Role.ZTUNNEL, node=end.node)
    return found


def _named(members: tuple[Member, ...], role: Role, **wanted: str) -> list[str]:
    return [
        member.name
        for member in members
        if member.role is role and all(getattr(member, name) == value for name, value in wanted.items())
    ]
