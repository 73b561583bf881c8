"""Which configurations a suite asks for: blocks of combinations, then one factor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from pydantic import TypeAdapter, ValidationError

from harness.plan.model import Configuration, Interception, Path, Reuse, SameNode
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
    "filler_rules": (TypeAdapter(int), "integer, 0 to 50000"),
    "ip_family": (TypeAdapter(IpFamily), ", ".join(IpFamily)),
}


def simplest(configuration: Configuration) -> Configuration:
    """The same configuration without the factors that do nothing in it, so that it has one name only."""
    if configuration.dataplane == "none":
        return Configuration(
            path=configuration.path,
            dataplane="none",
            interception=Interception.NONE,
            ip_family=configuration.ip_family,
        )
    if configuration.same_node is not SameNode.HBONE and configuration.path is not Path.SAME_NODE:
        return replace(configuration, same_node=SameNode.HBONE)
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
    for path, dataplane, interception, reuse, same_node, filler, ip_family in product(
        block.path,
        block.dataplane,
        block.interception,
        block.reuse,
        block.same_node,
        block.filler_rules,
        block.ip_family,
    ):
        found = Configuration(
            path=path,
            dataplane=dataplane,
            interception=interception,
            reuse=reuse,
            same_node=same_node,
            filler_rules=filler,
            ip_family=ip_family,
        )
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
            if isinstance(fit, int) and not 0 <= fit <= 50_000:
                complain(place, f"found {fit}", allowed, "")
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
