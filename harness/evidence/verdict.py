"""From a cell's evidence to its verdict: every check, the remarks, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from harness.evidence import checks, sources
from harness.evidence.case import Case
from harness.evidence.checks import CheckFunction
from harness.evidence.limits import limits
from harness.evidence.model import CellVerdict, Check, CheckStatus, Remark, conclude
from harness.evidence.noise import disturbances, lateness, pauses, starved
from harness.evidence.sources import cpu, delay, generator, host
from harness.evidence.sources.document import Unreadable


def evaluate(case: Case) -> CellVerdict:
    """Judge one cell.

    Returns:
        Checks in the order of their names, after one named `evidence`, which is unknown when any
        source is missing or malformed, whether or not another check needs it.
    """
    ended = [_presence(case.documents)]
    ended += [_run(name, check, case) for name, check in checks.known().items()]
    return conclude(tuple(ended), _remarks(case))


def _presence(evidence: Mapping[str, Any]) -> Check:
    """Whether every source can be read as what it should be."""
    unreadable = []
    for source in sources.known().values():
        try:
            source.read(evidence)
        except Unreadable as exc:
            unreadable.append(str(exc))
    names = sorted(sources.known())
    numbers = {"sources": len(names), "unreadable": len(unreadable)}
    if unreadable:
        reason = "; ".join(unreadable)
        return Check(name="evidence", status=CheckStatus.UNKNOWN, reason=reason, numbers=numbers)
    reason = f"all {len(names)} sources are there: {', '.join(names)}"
    unsaid = (*host.read(evidence).unsaid, *cpu.read(evidence).unsaid)
    if unsaid:
        reason += f"; this machine does not tell {', '.join(unsaid)}"
    return Check(name="evidence", status=CheckStatus.VALID, reason=reason, numbers=numbers)


def _run(name: str, check: CheckFunction, case: Case) -> Check:
    try:
        outcome = check(case)
    except Unreadable as exc:
        return Check(name=name, status=CheckStatus.UNKNOWN, reason=str(exc))
    return Check(name=name, status=outcome.status, reason=outcome.reason, numbers=outcome.numbers)


def _remarks(case: Case) -> tuple[Remark, ...]:
    """What can be said beside the status; the check `evidence` tells of sources that say nothing."""
    evidence = case.documents
    remarks = pauses(case.samples, case.configuration.rtt_ms * 1_000_000)
    with suppress(Unreadable):
        remarks += disturbances(host.read(evidence))
    with suppress(Unreadable):
        remarks += lateness(delay.read(evidence))
    with suppress(Unreadable):
        remarks += limits(generator.read(evidence))
        remarks += starved(generator.read(evidence))
    return remarks
