"""Where evidence comes from: one file per source.

Each has `NAME`, the document's name in a cell's `evidence/` folder; `collect`, which turns replies
into that document; and `read`, which turns the document into typed readings.

rules: counters and digests of every namespace's packet rules. conntrack: the table at the end.
sockets: the kernel's TCP counters. wire: packets on links, by port. tunnels: the proxies' counters.
delay: the line between the nodes. starts: when the lane's proxies began.
journal: when the probes' connections reached which step, as the proxies saw it.
answers: what came back to the load processes. generator: the load processes' own health. turns: how the
lanes of a bout took them.
host: steal, load, throttling, pressure and clocks of the machine. cpu: CPU time, context switches and memory
of the processes on the path.
nonces: what was readable between the nodes, and the listener's control. Once a round, told to each of its
cells: canary, what only a proxy can serve; refusal, what policy forbids; clock, packets' stamps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol


class Source(Protocol):
    """What a source's file offers beside its `collect`, which takes whatever it is made from."""

    NAME: str

    def read(self, documents: Mapping[str, Any], /) -> object:
        """The typed readings of the source's document; `Unreadable` where it is missing or malformed."""


@cache
def known() -> dict[str, Source]:
    """Name -> source, sorted by name; a cell has to have a document of each."""
    names = sorted(module.name for module in iter_modules(__path__) if module.name != "document")
    return {name: import_module(f"{__name__}.{name}") for name in names}
