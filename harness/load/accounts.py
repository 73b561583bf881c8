"""What the proxies use for each kind of first packet, by their own readings around every probe.

A bench operation answers with what the proxy had used before it and after it. From one's `after` to the next
one's `before` lies one probe whole: its connection, its first request, the later ones, the close; and the
operation's own answer, whose cost is learnt from operations with nothing between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

KINDS = ("cpu_ns", "switches")
CONTROL = "control"
"""Stands for the time between two operations in which nothing else was asked of the proxies."""
CONTROLS = 8
"""How often that is looked at in a cell, each time with the probes' own gap: 20 ms altogether."""


class Accounts:
    """The readings of all proxies of a batch of probes, summed by state."""

    def __init__(self, proxies: int) -> None:
        self._open: list[tuple[str, Mapping[str, int]] | None] = [None] * proxies
        """By proxy: the probe that goes on, and what the proxy had used when it began."""
        self._used: Counter[tuple[str, str]] = Counter()
        self._probes: Counter[str] = Counter()

    def read(self, proxy: int, answer: Mapping[str, Any], follows: str | None) -> None:
        """Take a proxy's answer to an operation, and what comes after it: a state, `CONTROL`, or nothing.

        A proxy that says nothing of what it used has no account.
        """
        if "used_before" not in answer:
            return
        begun = self._open[proxy]
        if begun is not None:
            last, since = begun
            for kind in KINDS:
                self._used[last, kind] += answer["used_before"][kind] - since[kind]
            self._probes[last] += proxy == 0  # once for all proxies of the batch
        self._open[proxy] = None if follows is None else (follows, answer["used_after"])

    def document(self) -> dict[str, dict[str, int]]:
        """State (or `CONTROL`) -> probes, and what all proxies together used for them."""
        return {
            name: {"probes": count, **{kind: self._used[name, kind] for kind in KINDS}}
            for name, count in self._probes.items()
        }
