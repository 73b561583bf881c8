"""Counts that have to agree, and the words in which a check says that they do or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.evidence.model import CheckStatus, Number

UNBOUNDED = 2**63
"""More than any counter of the kernel holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a check ended, before it has its name."""

    status: CheckStatus
    reason: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """`found` has to lie between `low` and `high`, both included."""

    name: str
    """What was counted and where, in words: `proxy a: accepted_outbound`."""
    found: int
    low: int
    high: int
    because: str
    """What the expectation follows from: `connections opened by the load`."""

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.low <= self.found <= self.high

    def __str__(self) -> str:
        if self.high == UNBOUNDED:
            wanted = f"at least {self.low}"
        else:
            wanted = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        return f"{self.name} is {self.found}, expected {wanted} ({self.because})"


def equal(name: str, found: int, expected: int, because: str, *, slack: int = 0) -> Law:
    """`found` has to be `expected`, or up to `slack` more."""
    return Law(name=name, found=found, low=expected, high=expected + slack, because=because)


def at_least(name: str, found: int, low: int, because: str) -> Law:
    """`found` has to be `low` or more."""
    return Law(name=name, found=found, low=low, high=UNBOUNDED, because=because)


def judge(laws: Sequence[Law]) -> Outcome:
    """Valid when every law holds; otherwise invalid, with each that does not."""
    numbers: dict[str, Number] = {law.name: law.found for law in laws}
    broken = [law for law in laws if not law.holds]
    if broken:
        numbers |= {f"{law.name} expected": law.low for law in broken}
        return Outcome(
            status=CheckStatus.INVALID, reason="; ".join(str(law) for law in broken), numbers=numbers
        )
    return Outcome(status=CheckStatus.VALID, reason=_summary(laws), numbers=numbers)


def not_applicable(reason: str) -> Outcome:
    """The check says nothing about this configuration, and why."""
    return Outcome(status=CheckStatus.NOT_APPLICABLE, reason=reason)


def _summary(laws: Sequence[Law]) -> str:
    counted = [f"{law.name} {law.found}" for law in laws if law.found]
    zeros = len(laws) - len(counted)
    if zeros:
        counted.append(f"{zeros} {'count is' if zeros == 1 else 'counts are'} 0 as expected")
    return "; ".join(counted)
