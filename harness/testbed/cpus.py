"""CPU sets per role, so that what makes load, what carries it and what answers do not fight for a core.

With fewer cores than roles a set of its own would starve whoever has to share it, so nothing is bound there.
What the bench does before and after a stage (agents, control plane) runs anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.engines.api import Member, Role

LEAST_CORES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSets:
    """Which cores each role has to itself."""

    sets: Mapping[tuple[Role, str], tuple[int, ...]]
    """(role, node) -> cores; the node is empty where the role's members of all nodes share them."""
    because: str
    """What was done and why, for the record."""

    def bound(self, member: Member) -> Member:
        """The member with its cores, or as it is where it has none of its own."""
        for place in ((member.role, member.node), (member.role, "")):
            if place in self.sets:
                return replace(member, cpus=self.sets[place])
        return member


def cpu_sets(cores: Sequence[int], nodes: Sequence[str]) -> CpuSets:
    """Share cores out: the load, each node's data plane, the backends; what is left over goes to the load.

    Args:
        cores: Those that this process may use.
        nodes: Names of the nodes.
    """
    places = [(Role.LOAD, ""), *((Role.ZTUNNEL, node) for node in nodes), (Role.APP, "")]
    least = max(LEAST_CORES, len(places))
    if len(cores) < least:
        because = f"not applied: {len(cores)} cores, and a core for each role takes {least}"
        return CpuSets(sets={}, because=because)
    each, over = divmod(len(cores), len(places))
    sets, begin = {}, 0
    for place in places:
        end = begin + each + (over if place[0] is Role.LOAD else 0)
        sets[place] = tuple(cores[begin:end])
        begin = end
    shares = "; ".join(
        f"{role.value}{f' of node {node}' if node else ''}: {', '.join(map(str, cpus))}"
        for (role, node), cpus in sets.items()
    )
    return CpuSets(sets=sets, because=f"applied: {shares}")
