"""How rules get into the kernel: a slot with two fillings, and what both promise.

An applier works in the network namespace that the process is in. `apply` replaces what is ours (chains
named `ISTIO_*` or `BENCH_*`, and jumps to them) with a rule set, one commit per table, and touches
nothing else. `read` gives back every rule of the tables with its counters.

iptc: python-iptables, for kernels with the legacy tables; it must run in a process of its own per
namespace, as it keeps tables per process. restore: iptables-restore, for kernels with nft alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from harness.agent.rules.model import RuleSet, digest

OWN = ("ISTIO_", "BENCH_")
"""What names of our chains begin with."""

ORDER = ("python-iptables", "iptables-restore")
"""The appliers' names, in the order in which they are tried. Names alone: loading them takes long."""

LOCK_WAIT_S = 30.0
"""How long to wait for another program that holds the lock; as Istio's `--wait=30`."""


class ApplyError(Exception):
    """The kernel did not take rules, or holds others than it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A rule as read back, `text` in the words of iptables-save."""

    table: str
    chain: str
    text: str
    packets: int
    bytes: int


class Applier(Protocol):
    """A way to write and read rules."""

    name: str

    def apply(self, rules: RuleSet) -> None:
        """Make `rules` all that is ours in this namespace.

        Raises:
            ApplyError: The kernel refused; nothing of the table at fault was changed.
        """

    def read(self, tables: Sequence[str]) -> list[Line]:
        """Every rule of these tables, ours or not, in order; runs of equal rules folded to one ` xN`.

        Raises:
            ApplyError: A table cannot be read.
        """


def fold(lines: Iterable[Line]) -> list[Line]:
    """Runs of equal rules as one line with ` xN` behind it and their counters added up."""
    folded = []
    for (table, chain, text), run in groupby(lines, key=lambda line: (line.table, line.chain, line.text)):
        same = list(run)
        suffix = f" x{len(same)}" if len(same) > 1 else ""
        folded.append(
            Line(
                table=table,
                chain=chain,
                text=text + suffix,
                packets=sum(line.packets for line in same),
                bytes=sum(line.bytes for line in same),
            )
        )
    return folded


def digest_of(lines: Iterable[Line]) -> str:
    """The digest of what was read; equal to `RuleSet.digest` where that set is all there is."""
    return digest((line.table, line.chain, line.text) for line in lines)


def verify(rules: RuleSet, lines: Sequence[Line]) -> None:
    """Compare what was read back with what was written; foreign rules are left out of it.

    Raises:
        ApplyError: A rule of ours is missing, changed, or not where it belongs.
    """
    wanted = [(table, chain, text) for table, chain, _, text in rules.lines()]
    foreign = {(line.table, line.chain, line.text) for line in lines if not own(line)}
    found = [(line.table, line.chain, line.text) for line in lines if own(line)]
    if digest(wanted) == digest(found):
        return
    missing = [" ".join(line) for line in wanted if line not in found]
    extra = [" ".join(line) for line in found if line not in wanted]
    raise ApplyError(
        f"rules read back differ from those written: missing {missing}, unexpected {extra}, "
        f"beside {len(foreign)} foreign rules; does something else write rules in this namespace?"
    )


def own(line: Line) -> bool:
    """Whether a rule is ours: in a chain of ours, or a jump to one."""
    return line.chain.startswith(OWN) or any(f"-j {prefix}" in line.text for prefix in OWN)
