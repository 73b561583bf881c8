"""First packets: one connection at a time, nothing else in the process.

Plain blocking sockets and no event loop: through gevent a connect takes twice as long, beside a load ten
times. Lanes have their turns connection by connection, in a balanced order; a lane's probes of all states are
interleaved in blocks, the same for lanes that have the same states, so that neighbours in time are probes of
one state. Every probe of every state and lane is alike:

    one control call to each bench socket of its lane, a gap, connect, GET, whole answer

So a lane's proxies have slept as long as the gap, whichever place its turn has: the call woke them. Then the
later requests of the cycle's connections follow, request by request in turns, and the connections close.

A connection is closed in order: our FIN, then the peer's is awaited, so that no teardown runs into the
next probe and conntrack is left with one TIME_WAIT entry per leg, none of them reused (the local port
is held for 60 s by our own TIME_WAIT socket; a cell takes hundreds of ports, 28,000 are there).
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import signal
import socket
import sys
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any

from harness.control import Channel, ControlError, Refused, Reply, serve
from harness.load import wire
from harness.load.accounts import CONTROL, CONTROLS, Accounts
from harness.load.blocking import Waiting, finish, unconnected
from harness.load.clock import quantile_99, sleep_until, tighten
from harness.load.lane import Lane, lanes, reading
from harness.load.later import later
from harness.load.order import cycles
from harness.load.paced import paced
from harness.load.records import LANE, PROBE_FIELDS
from harness.load.supply import raise_descriptor_limit
from harness.plan.model import State

log = logging.getLogger("harness.load.probe")

CODES = {state: code for code, state in enumerate(State)}
FIELDS = (LANE, *PROBE_FIELDS)
_waiting = Waiting()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """So many probes of one state, and what makes that state."""

    state: State
    count: int
    op: str


def order(wishes: Sequence[Wish], seed: str) -> Iterator[Wish]:
    """The probes of a lane: blocks of one of each state, each block shuffled; the same for the same seed."""
    drawn = random.Random(seed)  # noqa: S311 - an order, not a secret
    for turn in range(max((wish.count for wish in wishes), default=0)):
        block = [wish for wish in wishes if turn < wish.count]
        drawn.shuffle(block)
        yield from block


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is common to all probes of a batch."""

    later: int
    """Requests that follow on each connection."""
    gap_ns: int
    interval_ns: int
    """Between two later requests of a connection."""
    response_bytes: int

    @classmethod
    def read(cls, request: Mapping[str, Any]) -> Pace:
        """Out of a request."""
        return cls(
            later=int(request["later_requests"]),
            gap_ns=int(request["gap_ns"]),
            interval_ns=int(request["later_interval_ns"]),
            response_bytes=int(request["response_bytes"]),
        )


class Probes:
    """One lane's probes."""

    def __init__(self, lane: Lane, pace: Pace, seed: str, undo: ExitStack) -> None:
        self.lane = lane
        wishes = [
            Wish(state=State(wish["state"]), count=int(wish["count"]), op=str(wish["op"]))
            for wish in lane.more["states"]
        ]
        self.wishes = list(order(wishes, seed))
        self.rows = array("q")
        self._pace = pace
        self._channels = [undo.enter_context(Channel(path)) for path in lane.bench_sockets]
        self._supply = undo.enter_context(lane.supply())
        self._supply.stock(len(self.wishes) + 1)
        self._undo = undo
        self._prefix = wire.nonces()
        self._nonces = 0
        self._verification = wire.Verification()
        self._made = 0
        self._opened = 0
        self._cpu_ns = 0
        self._waited_ns: list[int] = []
        """Per request, how long this process waited for a core during it."""
        self._control_ns: list[int] = []
        self._residual: list[dict[str, object]] = []
        self._seen_ports: list[tuple[int, int]] = []
        """Per first packet that was answered: our own port, and the one that the backend was called from."""
        self._proxies = Accounts(len(self._channels))
        self._socket: socket.socket | None = None
        self._exchange: wire.Exchange | None = None

    @property
    def live(self) -> bool:
        """Whether the connection of this cycle is open, and every answer on it was right."""
        return self._socket is not None

    def prime(self) -> None:
        """Open the tunnel that warm probes want, by a connection that leaves no row."""
        if any(wish.state is State.WARM for wish in self.wishes):
            self._connect(State.WARM, 0)
            self.close()
            self.rows = array("q")
            self._seen_ports.clear()

    def control(self, wish: Wish) -> None:
        """Ask each proxy of the lane for what makes the state."""
        started_ns = monotonic_ns()
        for channel in self._channels:
            channel.send(wish.op)
        for index, channel in enumerate(self._channels):
            left = channel.receive().document
            self._proxies.read(index, left, wish.state.value)
            if wish.state is State.COLD and (left["tunnels_outbound"] or left["tunnels_inbound"]):
                self._residual.append({"connection": self._made, "socket": str(channel.path), **left})
        self._control_ns.append(monotonic_ns() - started_ns)

    def first(self) -> None:
        """The next probe: control calls, gap, first packet. Its connection stays open where all was right."""
        wish = self.wishes[self._made]
        self.control(wish)
        self._connect(wish.state, self._made)
        self._made += 1

    def _connect(self, state: State, connection: int) -> None:
        pace = self._pace
        self._exchange = wire.Exchange(
            self.lane.target, self.lane.source, pace.response_bytes, self._verification
        )
        self._socket = self._undo.enter_context(unconnected(self.lane, self._supply))
        self._opened += 1
        self.request(connection, 0, CODES[state], monotonic_ns() + pace.gap_ns)

    def later(self, sequence: int, intended_ns: int) -> None:
        """A later request on this cycle's connection."""
        self.request(self._made - 1, sequence, CODES[State.STEADY], intended_ns)

    def request(self, connection: int, sequence: int, state: int, intended_ns: int) -> None:
        """One request and its answer, one row; sequence 0 connects before. A failure ends the connection."""
        sock, exchange, target = self._socket, self._exchange, self.lane.target
        if sock is None or exchange is None:
            return
        address = (target.address, target.port)
        self._nonces += 1
        nonce = b"%s%08x" % (self._prefix, self._nonces)
        asked = exchange.request(nonce)
        # Times of steps that were not reached stay 0, and such a row is never `ok`.
        start_ns = connected_ns = sent_ns = first_byte_ns = end_ns = 0
        ok = False
        sleep_until(intended_ns)
        cpu_ns, waited_ns = time.process_time_ns(), _waiting.total_ns()
        with self._verification.counting():
            start_ns = monotonic_ns()
            if sequence == 0:
                sock.connect(address)
                connected_ns = monotonic_ns()
            else:
                connected_ns = start_ns
            sock.sendall(asked)
            sent_ns = monotonic_ns()
            size = sock.recv_into(exchange.buffer)
            first_byte_ns = monotonic_ns()
            if size != exchange.total:
                size = exchange.complete(sock.recv_into, size)
            end_ns = monotonic_ns()
            ok = exchange.judge(size, nonce)
        self._cpu_ns += time.process_time_ns() - cpu_ns
        self._waited_ns.append(_waiting.total_ns() - waited_ns)
        port = sock.getsockname()[1]
        if ok and sequence == 0:
            self._seen_ports.append((port, exchange.seen_port))
        times = (intended_ns, start_ns, connected_ns, sent_ns, first_byte_ns, end_ns)
        self.rows.extend((self.lane.number, connection, sequence, state, *times, port, ok))
        if not ok:
            self._drop()

    def close(self) -> None:
        """Close this cycle's connection in order."""
        if self._socket is not None:
            finish(self._socket, self._verification)
            self._drop()

    def _drop(self) -> None:
        if self._socket is not None and self._exchange is not None:
            self._socket.close()
            self._exchange.end()
        self._socket = self._exchange = None

    def close_accounts(self) -> None:
        """Ask once more, so that the last probe's use is known, and then for what asking itself costs."""
        for left in range(CONTROLS, -1, -1):
            for channel in self._channels:
                channel.send("nothing")
            for index, channel in enumerate(self._channels):
                self._proxies.read(index, channel.receive().document, CONTROL if left else None)
            sleep_until(monotonic_ns() + (self._pace.gap_ns if left and self._channels else 0))

    def document(self) -> dict[str, Any]:
        """What is told of this lane."""
        calls, waits = sorted(self._control_ns), self._waited_ns
        return {
            "rows": len(self.rows) // len(FIELDS),
            "opened": self._opened,
            "nonces": self._prefix.decode(),
            "residual_tunnels": self._residual,
            "seen_ports": self._seen_ports,
            "control_ns": {"p50": calls[len(calls) // 2], "max": calls[-1]} if calls else None,
            "usage": self._proxies.document(),
            "cpu_ns": self._cpu_ns,
            "waited_ns": sum(waits),
            "waited_p99_ns": quantile_99(waits),
            "late_sockets": self._supply.late,
            **self._verification.document(),
        }


def batch(request: dict[str, Any], undo: ExitStack) -> Reply:
    """Make all probes of a bout, return rows and document."""
    pace, seed = Pace.read(request), str(request["seed"])
    probes = {lane.number: Probes(lane, pace, seed, undo) for lane in lanes(request)}
    for lane in probes.values():
        lane.prime()
    most = max(len(lane.wishes) for lane in probes.values())
    for number, cycle in enumerate(cycles(list(probes), seed, most)):
        # a lane with fewer probes than another has them spread over the whole
        sharing = [probes[lane] for lane in cycle if _takes_part(len(probes[lane].wishes), number, most)]
        _cycle(sharing, pace)
    for lane in probes.values():
        lane.close_accounts()
    document = {
        "lanes": {str(number): lane.document() for number, lane in probes.items()},
        "fields": FIELDS,
        "lag_p99_ns": _lag_p99_ns(probes.values()),
        "together": False,
        "turns": "rows",
    }
    return Reply(document=document, payload=b"".join(lane.rows.tobytes() for lane in probes.values()))


def _takes_part(count: int, cycle: int, of: int) -> bool:
    return (cycle + 1) * count // of > cycle * count // of


def _cycle(sharing: list[Probes], pace: Pace) -> None:
    """A connection of each lane, their later requests in turns, forth and back, and their ends."""
    for lane in sharing:
        lane.first()
        if not pace.later:
            lane.close()
    begun_ns, step_ns = monotonic_ns(), pace.interval_ns // max(1, len(sharing))
    for sequence in range(1, 1 + pace.later):
        for place, lane in enumerate(sharing if sequence % 2 else sharing[::-1]):
            lane.later(sequence, begun_ns + sequence * pace.interval_ns + place * step_ns)
    for lane in sharing:
        lane.close()


def _lag_p99_ns(probes: Any) -> int | None:
    """How late first packets set out after their gap, 99th percentile over all lanes."""
    intended, start = FIELDS.index("intended_ns"), FIELDS.index("start_ns")
    sequence, width = FIELDS.index("sequence"), len(FIELDS)
    return quantile_99(
        lane.rows[at + start] - lane.rows[at + intended]
        for lane in probes
        for at in range(0, len(lane.rows), width)
        if lane.rows[at + sequence] == 0
    )


def probe(request: dict[str, Any]) -> Reply:
    """Op `probe`: see the control channel's description."""
    with ExitStack() as undo, reading(request):
        try:
            return batch(request, undo)
        except ControlError as exc:
            raise Refused(f"bout {request.get('bout')}: bench socket: {exc}", kind="bench-socket") from exc


def main() -> None:
    """Answer the probe's ops at a control socket until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="harness.load.probe", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    path: Path = parser.parse_args().socket
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    tighten()
    raise_descriptor_limit()
    gc.freeze()
    gc.disable()  # a cell makes no cycles worth a pause in its middle
    path.parent.mkdir(parents=True, exist_ok=True)
    serve(path, {"probe": probe, "later": later, "paced": paced})


if __name__ == "__main__":
    main()
