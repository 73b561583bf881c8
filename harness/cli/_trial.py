"""`selftest` without numbers: every sabotage done to a real cell, and what found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cli._output import emit, note, say, table
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.selftest.trial import Outcome

ENGINE = "netns"
"""No images, no engine: the checks read the same kernel, and it takes half the time."""


def trial(names: list[str], *, json: bool) -> int:
    """Do the sabotages of those names, all by default.

    Returns:
        0 when each was caught for the right reason, else 1.

    Raises:
        UsageError: A name is not known.
    """
    from harness.selftest import sabotages, trial  # noqa: PLC0415  # the testbed is not for --help
    from harness.testbed.checks import preflight  # noqa: PLC0415
    from harness.testbed.lock import MeasuringLock  # noqa: PLC0415

    known = sabotages.known()
    for name in names:
        if name not in known:
            raise UsageError(f"unknown sabotage {name!r}; known: {', '.join(known)}")
    chosen = preflight(ENGINE)
    with MeasuringLock():
        outcomes = trial.carry_out(chosen, [known[name] for name in names or known], note)
    caught = sum(outcome.caught for outcome in outcomes)
    if json:
        emit({"caught": caught, "of": len(outcomes), "sabotages": [each.document() for each in outcomes]})
    else:
        say(table(("", "sabotage", "should fire", "fired", "reason"), map(_row, outcomes)))
        say(f"{caught} of {len(outcomes)} caught for the right reason")
    return ExitCode.OK if caught == len(outcomes) else ExitCode.RUN_FAILED


def slowdown(rounds: int, *, json: bool) -> int:
    """Slow the proxy down by 10 % for real, and see whether the statistics find it.

    Returns:
        0 when the verdict is that it costs, else 1.
    """
    from harness.analysis.compare import Side, Word, Yardstick, compare  # noqa: PLC0415
    from harness.analysis.measures import METRICS  # noqa: PLC0415
    from harness.analysis.text import times  # noqa: PLC0415
    from harness.selftest.slowdown import EFFECT, carry_out  # noqa: PLC0415
    from harness.testbed.checks import preflight  # noqa: PLC0415
    from harness.testbed.lock import MeasuringLock  # noqa: PLC0415

    chosen = preflight(ENGINE)
    with MeasuringLock():
        found = carry_out(chosen, rounds, note)
    of, against = (Side(configuration=name, metric="first.warm") for name in ("slowed down", "as it is"))
    comparison = compare(
        factor="slowdown",
        label="slowed down / as it is",
        path="cross-node",
        of=of,
        against=against,
        values={of: found.slow, against: found.honest},
        limited={},
        yardstick=Yardstick(resolution=dict.fromkeys(METRICS, 1.0), noise={}),
    )
    seen = comparison.word is Word.COSTS
    if json:
        emit({"delay_s": found.delay_s, "usual_s": found.usual_s, "found": seen, **comparison.document()})
        return ExitCode.OK if seen else ExitCode.RUN_FAILED
    ratio = times(comparison.ratio) if comparison.ratio else "no ratio"
    injected = (
        f"{found.delay_s * 1e6:.0f} us, {EFFECT - 1:.0%} of a warm first packet, injected into the proxy"
    )
    say(f"{'✓' if seen else '✗'} {injected}: {comparison.word}")
    say(f"  {ratio} in {len(comparison.per_round)} rounds; {comparison.because}")
    return ExitCode.OK if seen else ExitCode.RUN_FAILED


def _row(outcome: Outcome) -> tuple[str, ...]:
    wanted = outcome.sabotage
    right = next((each for each in outcome.fired if each.name == wanted.fires), None)
    fired = ", ".join(dict.fromkeys(each.name for each in outcome.fired)) or "nothing"
    reason = right.reason if right else "; ".join(each.reason for each in outcome.fired)
    if not outcome.honest_valid:
        reason = f"the honest cell was not valid: {'; '.join(each.reason for each in outcome.honest)}"
    return ("✓" if outcome.caught else "✗", wanted.name, wanted.fires, fired, f"{reason:.100}")
