"""What a run's figures do not say, for the end of every report."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.dataplanes import known, named
from harness.report import labels
from harness.suite.model import ROUNDS_FOR_AN_INTERVAL


def limits(findings: Findings) -> list[str]:
    """Sentences, those that hold for every run first."""
    host = findings.run.environment.get("host", {})
    dataplanes = {each.dataplane for each in findings.configurations} - {"none"}
    found = [
        (
            "Everything runs on one host: cross-node traffic shares the CPUs with all else and meets "
            "no network "
            "card, no cable and no switch. Nodes are network namespaces."
        ),
        "A median hides a tail. Where a percentile is missing, the samples were too few for it.",
        (
            "The round is the unit of every comparison: an interval says how the medians of rounds "
            "vary, not how "
            "single requests do."
        ),
    ]
    if "pyztunnel" in dataplanes:
        found.insert(
            0,
            "The proxy is written in Python. Its latency and throughput are properties of CPython, "
            "asyncio and "
            "h2, not of ambient mode; what carries over is how configurations of the same proxy differ.",
        )
    for name in sorted(dataplanes & set(known())):
        found += [f"{name}: {remark}." for remark in named(name).REMARKS]
    cores = host.get("cores_usable") or host.get("cores")
    if isinstance(cores, int) and cores < 8:
        found.append(
            f"{cores} CPU cores carry the load generator, both proxies and the backend at once: "
            "throughput is "
            "what all of them together can do."
        )
    if host.get("virtual"):
        found.append("The host is a virtual machine; what its neighbours take is recorded, not prevented.")
    found += [
        f"First packets are not cut into phases for {', '.join(names)}: {reason}."
        for reason, names in _uncut(findings).items()
    ]
    if findings.run.plan.rounds < ROUNDS_FOR_AN_INTERVAL:
        found.append(
            f"{findings.run.plan.rounds} round(s) give no interval, so this run claims no difference at all."
        )
    return found


def _uncut(findings: Findings) -> dict[str, list[str]]:
    """Reason -> what it keeps from being shown phase by phase."""
    found: dict[str, list[str]] = {}
    for each in findings.waterfalls:
        if each.why_not:
            configuration = each.configuration
            name = f"{configuration.path.value} {labels.configuration(configuration)} ({each.state.value})"
            found.setdefault(each.why_not, []).append(name)
    return found
