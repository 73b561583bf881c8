"""From a cell's evidence to its verdict: every check, the remarks, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from harness.evidence import checks, sources
from harness.evidence.case import Case
from harness.evidence.checks import CheckFunction
from harness.evidence.limits import limits
from harness.evidence.model import CellVerdict, Check, CheckStatus, Remark, SampleCounts, conclude
from harness.evidence.noise import disturbances
from harness.evidence.sources import generator, host
from harness.evidence.sources.document import Unreadable
from harness.plan.model import Configuration, Path
from harness.topology.model import Topology


def evaluate(
    configuration: Configuration,
    topology: Topology,
    paths: Mapping[Path, tuple[str, str]],
    evidence: Mapping[str, Any],
    samples: SampleCounts,
) -> CellVerdict:
    """Judge one cell.

    Args:
        configuration: The cell's factors.
        topology: What existed.
        paths: Path -> (client's name, target's name) in the topology.
        evidence: Source -> its document as read from the cell's folder; absent or None where there
            is no such file or it cannot be parsed.
        samples: Counts taken from the cell's saved samples.

    Returns:
        Checks in the order of their names. The one named `evidence` is unknown when any source is
        missing or malformed, whether or not another check needs it.
    """
    client, target = paths[configuration.path]
    case = Case(
        configuration=configuration,
        topology=topology,
        client=topology.member(client),
        target=topology.member(target),
        documents=evidence,
        samples=samples,
    )
    ended = [_presence(evidence)]
    ended += [_run(name, check, case) for name, check in checks.known().items()]
    return conclude(tuple(ended), _remarks(evidence))


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
    return Check(name="evidence", status=CheckStatus.VALID, reason=reason, numbers=numbers)


def _run(name: str, check: CheckFunction, case: Case) -> Check:
    try:
        outcome = check(case)
    except Unreadable as exc:
        return Check(name=name, status=CheckStatus.UNKNOWN, reason=str(exc))
    return Check(name=name, status=outcome.status, reason=outcome.reason, numbers=outcome.numbers)


def _remarks(evidence: Mapping[str, Any]) -> tuple[Remark, ...]:
    """What can be said beside the status; the check `evidence` tells of sources that say nothing."""
    remarks: tuple[Remark, ...] = ()
    with suppress(Unreadable):
        remarks += disturbances(host.read(evidence))
    with suppress(Unreadable):
        remarks += limits(generator.read(evidence))
    return remarks
