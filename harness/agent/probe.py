"""Which applier writes the rules here: the one that takes most levels, found by trying."""

from __future__ import annotations

from collections.abc import Mapping

from harness.agent.appliers import ORDER, ApplyError
from harness.agent.wanted import Probe
from harness.agent.workers import FRESH, Work, WorkError, Workers

APPLIER_ENV = "AMBIENTBENCH_APPLIER"
"""Names the applier to use instead of the first one that works here."""

NONE = "none"
"""The level that every node needs: rules that count and capture nothing."""


def probed(workers: Workers, *, forced: str = "", ipv6: bool = False) -> Probe:
    """Try the appliers in their order, each in a process and a namespace of its own, until one takes all.

    Args:
        forced: The only applier to try; any when empty.
        ipv6: Whether IPv6's rules are needed too.

    Raises:
        ApplyError: None works; the message says why, for each.
    """
    best: Probe | None = None
    passed_over: list[str] = []
    for name in (forced,) if forced else ORDER:
        try:
            levels = _tried(workers, name, ipv6=ipv6)
        except WorkError as exc:
            passed_over.append(str(exc))
            continue
        if best is None or _taken(levels) > _taken(best.levels):
            why = "; ".join(passed_over) or "the first to be tried"
            best = Probe(
                applier=name, why=f"{APPLIER_ENV} asks for it" if forced else why, ipv6=ipv6, levels=levels
            )
        refused = [f"{level}: {why}" for level, why in levels.items() if why]
        if not refused:
            break
        passed_over.append(f"{name} does not take {refused[0]}")
    if best is None or best.levels[NONE]:
        raise ApplyError(
            f"no way to write iptables rules here ({'; '.join(passed_over)}): "
            "install iptables, and load the kernel modules ip_tables or nf_tables with nft_compat"
        )
    return best


def _taken(levels: Mapping[str, str]) -> int:
    return list(levels.values()).count("")


def _tried(workers: Workers, applier: str, *, ipv6: bool) -> Mapping[str, str]:
    work = Work(
        namespace=applier,
        path=FRESH,
        function="harness.agent.capture:refusals",
        arguments={"applier": applier, "ipv6": ipv6},
    )
    levels: Mapping[str, str] = workers.run([work])[0]
    return levels
