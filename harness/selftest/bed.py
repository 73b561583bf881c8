"""A testbed that lets a sabotage happen: members that are started by another module, lanes that are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.engines.api import Member, Role
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed


@dataclass(slots=True, kw_only=True)
class AlteredBed(Testbed):
    """A testbed some of whose members are started by another module, one that spoils something in them."""

    alteration: tuple[str, ...] = ()
    """What stands after `python3 -m` in the place of their own module; empty: they are as they are."""
    alters: str = Role.ZTUNNEL.value
    """Role or name of those members."""
    altered: frozenset[int] | None = None
    """Lanes whose members are to be altered from their next start on; None: all."""
    kept: frozenset[int] = frozenset()
    """Lanes whose proxies are not started anew when the lanes are placed; only their rules are written."""

    def wanted_members(self) -> tuple[Member, ...]:
        """The members of any testbed, with the commands of some replaced."""
        return tuple(map(self._altered, Testbed.wanted_members(self)))

    def wanted_proxies(self, number: int, placement: Placement) -> tuple[Member, ...]:
        """A lane's proxies, likewise."""
        return tuple(map(self._altered, Testbed.wanted_proxies(self, number, placement)))

    def place(self, placements: Mapping[int, Placement]) -> None:
        """Bring lanes to placements, but for those that are kept.

        Raises:
            PlacingFailed: A step failed.
        """
        for number in self.kept & placements.keys():
            self.lane(number).capture(placements[number].interception, placements[number].filler_rules)
        moved = {number: each for number, each in placements.items() if number not in self.kept}
        if moved:
            Testbed.place(self, moved)

    def _altered(self, member: Member) -> Member:
        meant = self.alters in {member.role.value, member.name}
        spared = self.altered is not None and member.lane not in self.altered
        if not self.alteration or not meant or spared:
            return member
        own_arguments = member.command[3:]  # after python3 -m MODULE
        return replace(member, command=("python3", "-m", *self.alteration, *own_arguments))
