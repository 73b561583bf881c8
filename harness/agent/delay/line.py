"""The underlay's delay line, laid and taken away by the agent that wired the underlay."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from socket import socket
from typing import Any, Protocol

from harness.agent import netns
from harness.agent.delay.board import Board
from harness.agent.delay.lanes import dropped, open_lanes
from harness.agent.wiring import UNDERLAY, Port, Wiring
from harness.agent.workers import Workers

END_S = 5.0
"""For the forwarder to end after its standard input has."""


class LineError(Exception):
    """The delay line is not in force; the message says why."""


class Kind(StrEnum):
    """What delays frames."""

    NONE = "none"
    """Nothing: the bridge forwards them."""
    NETEM = "netem"
    FORWARDER = "forwarder"


class _Laid(Protocol):
    """A line in force."""

    kind: Kind

    def set(self, one_way_ns: int) -> None:
        """Delay what comes from now on by so much."""

    def take(self) -> dict[str, Any]:
        """Frames carried and lost since the last call, and how late they were, ns; None: nobody knows."""

    def lift(self) -> None:
        """Let the bridge forward again."""


class Line:
    """The line as the agent holds it: nothing is there until a delay is asked for.

    It ends with the agent, without being taken away: a forwarder when its standard input does, the rest with
    the namespace.
    """

    def __init__(self, wiring: Wiring, workers: Workers, underlay: str) -> None:
        self._wiring = wiring
        self._workers = workers
        self._underlay = underlay
        self._laid: _Laid | None = None
        self._rtt_ns = 0

    def set(self, rtt_ns: int) -> None:
        """Let round trips over the underlay take `rtt_ns` longer; 0 takes the line away.

        Raises:
            LineError, WorkError, OSError: It could not be laid; frames go the kernel's own way.
        """
        if rtt_ns == 0:
            self.close()
            return
        if self._laid is None:
            self._laid = self._lay(rtt_ns)
        self._laid.set(rtt_ns // 2)
        self._rtt_ns = rtt_ns

    def take(self) -> dict[str, Any]:
        """What delays, by how much, and what it carried since the last call."""
        kind = Kind.NONE if self._laid is None else self._laid.kind
        carried = {"carried": 0, "lost": 0, "late_ns": None} if self._laid is None else self._laid.take()
        return {"kind": kind.value, "rtt_ns": self._rtt_ns, **carried}

    def close(self) -> None:
        """Take the line away, if there is one."""
        if self._laid is not None:
            self._laid.lift()
        self._laid, self._rtt_ns = None, 0

    def _lay(self, rtt_ns: int) -> _Laid:
        ports = self._wiring.ports()
        links = [port.link for port in ports]
        call = partial(_call, self._wiring, self._workers)
        if call("harness.agent.delay.netem:lay", links=links, delay_us=rtt_ns // 2000):
            return _Netem(call=call, links=links)
        lanes = netns.inside(self._underlay, lambda: open_lanes(links))
        # off the bridge, or each frame would arrive twice
        call("harness.agent.links:unplug", links=links)
        return _Forwarder(call=call, ports=ports, lanes=lanes)


class _Call(Protocol):
    def __call__(self, function: str, /, **arguments: object) -> Any:
        """What a function returns that was called in the underlay's namespace."""


def _call(wiring: Wiring, workers: Workers, function: str, /, **arguments: object) -> Any:
    return workers.run([wiring.work(UNDERLAY, function, **arguments)])[0]


@dataclass(slots=True, kw_only=True)
class _Netem:
    call: _Call
    links: Sequence[str]
    kind: Kind = Kind.NETEM
    taken: Mapping[str, int] = field(default_factory=lambda: {"carried": 0, "lost": 0})

    def set(self, one_way_ns: int) -> None:
        self.call("harness.agent.delay.netem:lay", links=self.links, delay_us=one_way_ns // 1000)

    def take(self) -> dict[str, Any]:
        counts: Mapping[str, int] = self.call("harness.agent.delay.netem:counts", links=self.links)
        since = {name: count - self.taken[name] for name, count in counts.items()}
        self.taken = counts
        return {**since, "late_ns": None}

    def lift(self) -> None:
        self.call("harness.agent.delay.netem:lift", links=self.links)


@dataclass(slots=True, kw_only=True)
class _Forwarder:
    call: _Call
    ports: Sequence[Port]
    lanes: Sequence[socket]
    kind: Kind = Kind.FORWARDER
    board: Board = field(default_factory=Board.new)
    carried: int = 0
    lost: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        descriptors = [lane.fileno() for lane in self.lanes]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "harness.agent.delay.forwarder"),
                *("--board", str(self.board.descriptor)),
                *("--lanes", ",".join(map(str, descriptors))),
                *("--behind", ",".join(port.mac for port in self.ports)),
            ],
            stdin=subprocess.PIPE,
            pass_fds=[self.board.descriptor, *descriptors],
        )

    def set(self, one_way_ns: int) -> None:
        self.board.delay_ns = one_way_ns

    def take(self) -> dict[str, Any]:
        code = self.process.poll()
        if code is not None:
            raise LineError(f"the forwarder (pid {self.process.pid}) ended with {code}: no frame passes")
        late = sorted(self.board.lateness(self.carried))
        found = {
            "carried": self.board.carried - self.carried,
            "lost": self.board.lost - self.lost + sum(dropped(lane) for lane in self.lanes),
            "late_ns": _spread(late) if late else None,
        }
        self.carried, self.lost = self.board.carried, self.board.lost
        return found

    def lift(self) -> None:
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for lane in self.lanes:
            lane.close()
        self.board.close()
        self.call("harness.agent.links:bridge", name=UNDERLAY, ports=self.ports)


def _spread(ordered: Sequence[int]) -> dict[str, int]:
    return {
        "p50": ordered[len(ordered) // 2],
        "p90": ordered[len(ordered) * 9 // 10],
        "max": ordered[-1],
    }
