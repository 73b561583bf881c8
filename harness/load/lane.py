"""A lane as a load process is told of it, and a turn as it tells of one.

A request is `{"bout": name, "seed": text, "lanes": [{"lane": number, ...}], ...}`; a bout of one lane is the
ordinary case. What only one lane needs stands in its own entry.

The reply's document has `lanes` (number -> what is told of it), `fields` (of a row, the lane first), `turns`
(lane, start_ns, end_ns, drained; or the word `rows` where each row is a turn), `together` (whether lanes had
their turns at once, by design), and what holds for the process: `lag_p99_ns`, `settle_ns`, `workers`.
`harness.load.split` deals it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.control import Refused
from harness.load import wire
from harness.load.supply import Supply


class Turn(NamedTuple):
    """The smallest stretch of load on one lane before another has its own."""

    lane: int
    start_ns: int
    end_ns: int
    drained: bool
    """Whether nothing of the lane was under way at `end_ns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Where a lane's connections come from and go to."""

    number: int
    source: str
    """The address that answers must have seen."""
    target: wire.Target
    sockets: Path
    """Where the client pod's agent hands out sockets."""
    namespace: str
    """The client pod's, as its agent knows it."""
    bench_sockets: tuple[Path, ...] = ()
    """Of the lane's proxies."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What an op asks of this lane alone."""

    @property
    def family(self) -> Any:
        """The address family of its connections."""
        return wire.family(self.target.address)

    def supply(self) -> Supply:
        """Sockets out of its client pod.

        Raises:
            Refused: The agent does not listen.
        """
        return Supply(self.sockets, self.namespace, self.family)


def lanes(request: Mapping[str, Any]) -> list[Lane]:
    """The lanes of a request, in its order.

    Raises:
        KeyError, TypeError, ValueError: It is malformed; see `reading`.
    """
    read = []
    for entry in request["lanes"]:
        more = dict(entry)
        read.append(
            Lane(
                number=int(more.pop("lane")),
                source=str(more.pop("source")),
                target=wire.Target(**more.pop("target")),
                sockets=Path(more.pop("sockets")),
                namespace=str(more.pop("namespace")),
                bench_sockets=tuple(map(Path, more.pop("bench_sockets", ()))),
                more=more,
            )
        )
    if len({lane.number for lane in read}) < len(read) or not read:
        raise ValueError(f"lanes {[lane.number for lane in read]}: expected one or more, each number once")
    return read


@contextmanager
def reading(request: Mapping[str, Any]) -> Iterator[None]:
    """Turn what goes wrong as a request is read into a refusal that names the bout."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as exc:
        raise Refused(f"bout {request.get('bout')}: bad request: {exc!r}", kind="bad-request") from exc
