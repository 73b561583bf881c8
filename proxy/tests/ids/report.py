"""Ids joined with their tests and exclusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxy.tests.ids.collect import Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is printed, and what is wrong with it."""

    lines: list[str]
    problems: list[str]


def report(
    catalogue: Mapping[str, Mapping[str, str]],
    tests: Mapping[str, Sequence[Test]],
    exclusions: Mapping[str, str],
) -> Report:
    """One line per id: its title, and its first test or why it has none."""
    lines, problems = [], []
    known = {each: title for section in catalogue.values() for each, title in section.items()}
    for each, title in known.items():
        stands = tests.get(each, ())
        if stands:
            more = f" and {len(stands) - 1} more" if len(stands) > 1 else ""
            lines.append(f"{each:14} {title}\n{'':14} {stands[0]}{more}")
        elif each in exclusions:
            lines.append(f"{each:14} {title}\n{'':14} excluded: {exclusions[each]}")
        else:
            lines.append(f"{each:14} {title}\n{'':14} MISSING")
            problems.append(f"{each} ({title}): neither a test nor an exclusion names it")
        if stands and each in exclusions:
            problems.append(f"{each}: excluded, yet {stands[0]} names it")
    problems += [f"exclusions.toml: {each} is no id of catalogue.toml" for each in exclusions.keys() - known]
    return Report(lines=lines, problems=problems)
