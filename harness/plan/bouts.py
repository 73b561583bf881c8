"""Which configurations are measured in turns: every two that are compared stand in one bout.

A bout has one path and one distance. It holds its reference (the suite's default on that path, or what comes
nearest to it), the reference's twin, and as many others as there are lanes for. Where not all fit, there are
several bouts, each with the reference and a twin of its own, so that every comparison is made in turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from harness.plan.model import Configuration
from harness.plan.pairs import pairs

Group = tuple[Configuration, ...]
"""A bout's configurations; the twin, where there is one, is the last."""


def bouts(
    configurations: Sequence[Configuration], default: Configuration, *, lanes: int, twin: bool
) -> tuple[Group, ...]:
    """Group configurations into bouts.

    Args:
        configurations: Each once, in the order of the suite.
        default: The suite's; its nearest relative on each path is that path's reference.
        lanes: How many a testbed has, at least one, with `twin` at least two.
        twin: Whether each bout's reference stands twice.

    Returns:
        Groups of at most `lanes`. Every configuration is in one of them, every two that `pairs` compares and
        that share a path and a distance are together in one.
    """
    places = dict.fromkeys(each.place for each in configurations)
    return tuple(
        (*group, replace(group[0], twin=True)) if twin else group
        for place in places
        for group in _of_place(
            [each for each in configurations if each.place == place], default, lanes - (1 if twin else 0)
        )
    )


def _of_place(configurations: list[Configuration], default: Configuration, room: int) -> Iterator[Group]:
    reference = min(configurations, key=lambda each: _distance(each, default))
    if len(configurations) <= room:
        yield (reference, *(each for each in configurations if each != reference))
        return
    unsettled = [{pair.of, pair.against} for pair in pairs(configurations) if room > 1]
    alone = [each for each in configurations if not any(each in pair for pair in unsettled)]
    while unsettled or alone:
        group = [reference] if room > 2 else []
        while more := _next(group, unsettled, alone, room - len(group)):
            group += more
            unsettled = [pair for pair in unsettled if not pair <= set(group)]
            alone = [each for each in alone if each not in group]
        yield tuple(group)


def _next(
    group: Sequence[Configuration],
    unsettled: Sequence[set[Configuration]],
    alone: Sequence[Configuration],
    room: int,
) -> list[Configuration]:
    """Who joins a group: those of the pair that settle the most pairs each; else one that has no pair."""
    best: list[Configuration] = []
    most = 0.0
    for pair in unsettled:
        new = sorted(pair - set(group), key=lambda each: each.key)
        if len(new) > room:
            continue
        settled = sum(each <= {*group, *new} for each in unsettled) / len(new)
        if settled > most:
            best, most = new, settled
    return best or list(alone[: min(room, 1)])


def _distance(of: Configuration, default: Configuration) -> int:
    """In how many factors two differ, path and distance apart; one without a mesh is farthest."""
    names = [each.name for each in fields(of) if each.name not in {"path", "rtt_ms"}]
    apart = [name for name in names if getattr(of, name) != getattr(default, name)]
    return len(apart) + (len(names) if of.dataplane == "none" else 0)
