"""Claims about cost: what is dear, what is cheap, what saves. Judged on paired rounds."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.claims.model import (
    Grounds,
    Ruling,
    Verdict,
    exactly,
    extent,
    extremes,
    not_measured,
    ratios,
    span,
    trips,
    verdicts,
)
from harness.analysis.compare import Word
from harness.analysis.measures import METRICS
from harness.analysis.text import quantity
from harness.analysis.waterfall import Owner, Waterfall
from harness.plan.model import Path, Reuse, State


def first_pays(grounds: Grounds) -> Ruling:
    evaluated = extent(
        [
            each
            for each in grounds.of()
            if "policy_per_connection" in each.figures and each.configuration.path is not Path.OUT_OF_MESH
        ],
        "policy_per_connection",
    )
    against_direct = [
        each for metric in ("first.warm", "first.new") for each in grounds.comparisons("mesh", metric)
    ]
    settled = [each for each in against_direct if each.word is not Word.OPEN]
    if evaluated is None or not settled:
        return not_measured("no first packet through the mesh and directly in rounds enough to compare")
    figures = [
        f"policy evaluations per connection into the mesh: {span(evaluated)}",
        *ratios(extremes(settled)),
    ]
    cut = [each for each in grounds.waterfalls if not each.why_not and each.configuration.tunnelled]
    figures += [_phases(each) for each in _typical(cut)]
    if all(each.word is Word.COSTS for each in settled) and exactly(evaluated, 1):
        return Ruling(
            verdict=Verdict.HOLDS,
            because="policy is evaluated once, in user space, and the first packet costs more than without "
            "the mesh; how much of it is policy and how much encryption "
            + ("is in the figures" if cut else "takes phases, which this run lacks"),
            figures=tuple(figures),
        )
    return Ruling(
        verdict=Verdict.DOES_NOT,
        because="the first packet does not cost more, or policy is not evaluated once per connection",
        figures=tuple(figures),
    )


def reuse_saves(grounds: Grounds) -> Ruling:
    first = grounds.comparisons("reuse", "first.warm")
    settled = [each for each in first if each.word is not Word.OPEN]
    cold, warm = grounds.round_trips("first.cold"), grounds.round_trips("first.warm")
    distances = [*trips("first.cold", cold), *trips("first.warm", warm)]
    if not settled and cold and warm:
        return Ruling(
            verdict=Verdict.HOLDS_IF if min(cold) > max(warm) else Verdict.DOES_NOT,
            because="it is read as saving connection set-up: over distance a tunnel that exists spares a "
            "first packet the round trips of a new one; what else reuse does was not compared in this run",
            figures=tuple(distances),
        )
    if not settled:
        return not_measured("no rounds enough with tunnel reuse on and off")
    figures = ratios(extremes(settled)) + distances
    for reuse in Reuse:
        found = extent(
            [each for each in grounds.of(reuse=reuse) if each.configuration.tunnelled],
            "handshakes_per_connection",
        )
        if found is not None:
            figures.append(f"reuse {reuse.value}: {span(found)} handshakes per connection")
    figures += _by_streams(grounds)
    spread = _spread(grounds)
    figures += [line for _, line in spread]
    if not all(each.word is Word.SAVES for each in settled):
        return Ruling(
            verdict=Verdict.DOES_NOT, because="reuse does not save on every path", figures=tuple(figures)
        )
    if not spread:
        return Ruling(
            verdict=Verdict.HOLDS_IF,
            because="it is read as saving connection set-up; no service with several endpoints was measured",
            figures=tuple(figures),
        )
    even = all(share < 1 for share, _ in spread)
    return Ruling(
        verdict=Verdict.HOLDS if even else Verdict.DOES_NOT,
        because="reuse saves connection set-up, and connections to a service "
        + ("were spread over its endpoints" if even else "all went to one of its endpoints"),
        figures=tuple(figures),
    )


def _spread(grounds: Grounds) -> list[tuple[float, str]]:
    """Share of the answers that the busiest endpoint of a service gave, and the same in words."""
    found = []
    for side, measure in grounds.measures.items():
        if (
            side.metric == "endpoints.busiest"
            and measure.estimate
            and measure.configuration.dataplane != "none"
        ):
            share = measure.estimate.centre
            found.append(
                (share, f"{side.configuration}: {share:.0%} of the answers from the busiest endpoint")
            )
    return found


def later_cheaper(grounds: Grounds) -> Ruling:
    through = [each for each in grounds.first_packet if "none" not in each.of.configuration.split(".")]
    later = [each for each in through if each.word is not Word.OPEN]
    if not later:
        return not_measured("no rounds enough to compare first and later packets")
    labels = ("conntrack", "tunnel reuse")
    words = {
        f"{label} on {METRICS[metric].title}": verdicts(grounds.comparisons(factor, metric))
        for factor, label in zip(("conntrack", "reuse"), labels, strict=True)
        for metric in ("steady", "requests", "transfer")
    }
    distances = [
        line for metric in ("first.warm", "steady") for line in trips(metric, grounds.round_trips(metric))
    ]
    figures = [
        *ratios(extremes(later)),
        *distances,
        *(f"{name}: {word}" for name, word in words.items() if word),
    ]
    if not all(each.word is Word.COSTS for each in later):
        return Ruling(
            verdict=Verdict.DOES_NOT,
            because="later packets are not cheaper everywhere",
            figures=tuple(figures),
        )
    missing = [label for label in labels if not any(words[name] for name in words if name.startswith(label))]
    if missing:
        because = f"later packets are cheaper; what {' and '.join(missing)} do to them was not measured"
        return Ruling(verdict=Verdict.HOLDS_IF, because=because, figures=tuple(figures))
    if all(word == Word.SAVES for word in words.values() if word):
        return Ruling(
            verdict=Verdict.HOLDS,
            because="later packets are cheaper, and both factors save",
            figures=tuple(figures),
        )
    return Ruling(
        verdict=Verdict.HOLDS_IF,
        because="it is put down to the connection that already exists; what conntrack and tunnel reuse do "
        "to later packets and to throughput is listed, and they do not save throughout",
        figures=tuple(figures),
    )


def _by_streams(grounds: Grounds) -> list[str]:
    """What a limit of streams does to the number of handshakes, where it was varied."""
    pooled = [each for each in grounds.of(reuse=Reuse.ON) if each.configuration.tunnelled]
    limits = sorted({each.configuration.streams_per_tunnel for each in pooled})
    if len(limits) < 2:
        return []
    lines = []
    for limit in limits:
        found = extent(
            [each for each in pooled if each.configuration.streams_per_tunnel == limit],
            "handshakes_per_connection",
        )
        if found is not None:
            lines.append(f"at most {limit} streams a tunnel: {span(found)} handshakes per connection")
    return lines


TUNING = {
    "filler_rules": "number of rules",
    "policies": "number of policies",
    "streams_per_tunnel": "streams per tunnel",
    "window_kib": "HTTP/2 windows",
}
"""Factor -> what is tuned by it."""


def tunable(grounds: Grounds) -> Ruling:
    """Each factor of tuning that was varied, and what it changed."""
    varied = {
        factor: found
        for factor in TUNING
        if (found := [each for each in (*grounds.factors, *grounds.costs) if each.factor == factor])
        and any(each.word is not Word.OPEN for each in found)
    }
    if not varied:
        return not_measured("no factor of tuning (rules, policies, streams, windows) in rounds enough")
    changed = {
        factor: [each for each in found if each.word in {Word.COSTS, Word.SAVES}]
        for factor, found in varied.items()
    }
    figures = []
    for factor, found in varied.items():
        moved = changed[factor]
        what = ", ".join(dict.fromkeys(METRICS[each.of.metric].title for each in moved))
        count = f"{len(moved)} of {len(found)} comparisons changed"
        figures.append(f"{TUNING[factor]}: {count}{f', {what}' if what else ''}")
        figures += ratios(extremes(moved))
    if grounds.break_even is not None:
        figures.append(grounds.break_even.sentence)
    with_effect = [TUNING[factor] for factor, moved in changed.items() if moved]
    without = [TUNING[factor] for factor, moved in changed.items() if not moved]
    if not without:
        return Ruling(
            verdict=Verdict.HOLDS,
            because="everything that was tuned changed something, by the bench's own counts and times",
            figures=tuple(figures),
        )
    if with_effect:
        return Ruling(
            verdict=Verdict.HOLDS_IF,
            because=f"it is read as {', '.join(with_effect)}; no effect is shown of {', '.join(without)}",
            figures=tuple(figures),
        )
    return Ruling(
        verdict=Verdict.DOES_NOT,
        because="nothing that was tuned changed anything that this run could tell from none",
        figures=tuple(figures),
    )


def _typical(cut: Sequence[Waterfall]) -> list[Waterfall]:
    """One cold and one warm, of the same configuration: the first that has both."""
    for each in cut:
        if each.state is State.COLD:
            like = [other for other in cut if other.configuration == each.configuration]
            if len(like) > 1:
                return like
    return list(cut[:1])


def _phases(cut: Waterfall) -> str:
    policy = sum(share.mean_s for share in cut.shares if share.phase.step == "policy_ns")
    tunnel = cut.owned_s(Owner.TUNNEL)
    return (
        f"{cut.configuration.key}: {cut.state.value} first packet {quantity(cut.total_s, 's')}, of which "
        f"policy {quantity(policy, 's')} ({policy / cut.total_s:.0%}), "
        f"tunnel and handshake {quantity(tunnel, 's')} ({tunnel / cut.total_s:.0%})"
    )
