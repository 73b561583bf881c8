"""Which configurations a suite asks for: blocks of combinations, then one factor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from pydantic import TypeAdapter, ValidationError

from harness.plan.model import (
    STREAMS_PER_TUNNEL,
    WINDOW_KIB,
    Configuration,
    Interception,
    Path,
    Reuse,
    SameNode,
)
from harness.suite import raw
from harness.suite.problems import Key
from harness.topology.model import IpFamily

Complain = Callable[[Key, str, str, str], None]
"""Takes a key, what was found there, what is allowed, and the word that may be misspelt."""

_TYPES: dict[str, tuple[TypeAdapter[object], str]] = {
    "path": (TypeAdapter(Path), ", ".join(Path)),
    "dataplane": (TypeAdapter(str), "the name of a data plane"),
    "interception": (TypeAdapter(Interception), ", ".join(Interception)),
    "reuse": (TypeAdapter(Reuse), ", ".join(Reuse)),
    "same_node": (TypeAdapter(SameNode), ", ".join(SameNode)),
    "filler_rules": (TypeAdapter(raw.FillerRules), "integer, 0 to 10000"),
    "ip_family": (TypeAdapter(IpFamily), ", ".join(IpFamily)),
    "streams_per_tunnel": (TypeAdapter(raw.Streams), f"integer, 1 to {STREAMS_PER_TUNNEL}"),
    "window_kib": (TypeAdapter(raw.WindowKib), "integer, 64 to 65536"),
    "policies": (TypeAdapter(raw.Policies), "integer, 0 to 20000"),
    "rtt_ms": (TypeAdapter(raw.Rtt), "integer, 0 to 500"),
}


def simplest(configuration: Configuration) -> Configuration:
    """The same configuration without the factors that do nothing in it, so that it has one name only."""
    if configuration.path in {Path.SAME_NODE, Path.SERVICE}:
        # what stays on a node goes no distance; of a service's endpoints some are near and some far
        configuration = replace(configuration, rtt_ms=0)
    if configuration.dataplane == "none":
        return Configuration(
            path=configuration.path,
            dataplane="none",
            interception=Interception.NONE,
            ip_family=configuration.ip_family,
            rtt_ms=configuration.rtt_ms,
        )
    if configuration.path is not Path.SAME_NODE:
        configuration = replace(configuration, same_node=SameNode.HBONE)
    if not configuration.tunnelled:
        configuration = replace(configuration, streams_per_tunnel=STREAMS_PER_TUNNEL, window_kib=WINDOW_KIB)
    if configuration.reuse is not Reuse.ON:  # one stream each, whatever the limit
        configuration = replace(configuration, streams_per_tunnel=STREAMS_PER_TUNNEL)
    if configuration.path is Path.OUT_OF_MESH:  # policies are those of the destination
        configuration = replace(configuration, policies=0)
    return configuration


def configurations(
    written: raw.RawSuite, default: Configuration | None, complain: Complain
) -> Iterator[tuple[Key, Configuration]]:
    """Every configuration asked for, with the key that asked; the same one may come again."""
    for index, block in enumerate(written.matrix):
        yield from ((("matrix", index), found) for found in _block(block))
    if default is None:
        return
    for index, vary in enumerate(written.vary):
        yield from _vary(("vary", index), vary, default, complain)


def _block(block: raw.RawBlock) -> Iterator[Configuration]:
    lists = {factor: getattr(block, factor) for factor in _TYPES}
    for combination in product(*lists.values()):
        found = Configuration(**dict(zip(lists, combination, strict=True)))
        if not any(_agrees(found, part) for part in block.exclude):
            yield simplest(found)


def _agrees(found: Configuration, part: raw.RawPart) -> bool:
    wanted = part.model_dump(exclude_none=True)
    return bool(wanted) and all(getattr(found, factor) == value for factor, value in wanted.items())


def _vary(
    key: Key, vary: raw.RawVary, default: Configuration, complain: Complain
) -> Iterator[tuple[Key, Configuration]]:
    at = vary.at.model_dump(exclude_none=True) if vary.at else {}
    if vary.factor in at:
        complain((*key, "at", vary.factor), "this is the factor that varies", "the other factors", "")
        return
    adapter, allowed = _TYPES[vary.factor]
    for combination in product(*at.values()):
        base = {factor: getattr(default, factor) for factor in _TYPES}
        base.update(zip(at, combination, strict=True))
        # what the varied one is compared with belongs to the plan too
        yield key, simplest(Configuration(**base))
        for position, value in enumerate(vary.values):
            place = (*key, "values", position)
            try:
                fit = adapter.validate_python(value)
            except ValidationError:
                complain(place, f"found {value!r}", allowed, str(value))
                continue
            found = Configuration(**{**base, vary.factor: fit})
            if simplest(found) != found:
                complain(
                    place,
                    f"{vary.factor} = {value!r} does nothing on path {found.path.value!r} "
                    f"with data plane {found.dataplane!r}",
                    "another path in `at`",
                    "",
                )
                continue
            yield key, found
