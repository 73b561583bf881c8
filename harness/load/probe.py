"""First packets: one connection at a time, nothing else in the process.

Plain blocking sockets and no event loop: through gevent a connect takes twice as long, beside a load
ten times. A cell's probes of all states are interleaved in blocks, each block in an order drawn from
the cell's name, so that all states meet the same moments. Every probe of every state is alike:

    one control call to each bench socket, a gap, connect, GET, whole answer, later requests, close

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
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Any

from harness.control import Channel, ControlError, Refused, Reply, serve
from harness.load import wire
from harness.load.accounts import CONTROL, CONTROLS, Accounts
from harness.load.clock import sleep_until, tighten
from harness.load.paced import paced
from harness.load.pingpong import pingpong
from harness.load.records import PROBE_FIELDS
from harness.plan.model import State

log = logging.getLogger("harness.load.probe")

ANSWER_TIMEOUT_S = 5.0
"""For connect, send and each read: longer than a SYN sent twice (3 s), shorter than a cell."""
CLOSE_TIMEOUT_S = 2.0
CODES = {state: code for code, state in enumerate(State)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """So many probes of one state, and what makes that state."""

    state: State
    count: int
    op: str


def order(wishes: Sequence[Wish], seed: str) -> Iterator[Wish]:
    """The probes of a cell: blocks of one of each state, each block shuffled; the same for the same seed."""
    drawn = random.Random(seed)  # noqa: S311 - an order, not a secret
    for turn in range(max((wish.count for wish in wishes), default=0)):
        block = [wish for wish in wishes if turn < wish.count]
        drawn.shuffle(block)
        yield from block


class Batch:
    """The probes of one cell."""

    def __init__(self, request: dict[str, Any], channels: Sequence[Channel]) -> None:
        self._channels = channels
        self._target = wire.Target(**request["target"])
        self._source = str(request["source"])
        self._later = int(request["later_requests"])
        self._gap_ns = int(request["gap_ns"])
        self._interval_ns = int(request["later_interval_ns"])
        self._response_bytes = int(request["response_bytes"])
        self._wishes = [
            Wish(state=State(wish["state"]), count=int(wish["count"]), op=str(wish["op"]))
            for wish in request["states"]
        ]
        self._seed = str(request["cell"])
        self._prefix = wire.nonces()
        self._nonces = 0
        self._verification = wire.Verification()
        connections = sum(wish.count for wish in self._wishes)
        width = len(PROBE_FIELDS)
        self._rows = array("q", bytes(8 * width * connections * (1 + self._later)))
        self._filled = 0
        self._opened = 0
        self._control_ns: list[int] = []
        self._residual: list[dict[str, object]] = []
        self._seen_ports: list[tuple[int, int]] = []
        """Per first packet that was answered: our own port, and the one that the backend was called from."""
        self._proxies = Accounts(len(channels))

    def run(self) -> Reply:
        """Make all probes, return rows and document."""
        if any(wish.state is State.WARM for wish in self._wishes):
            self._prime()
        for connection, wish in enumerate(order(self._wishes, self._seed)):
            self._control(connection, wish)
            self._probe(connection, CODES[wish.state], monotonic_ns() + self._gap_ns, later=self._later)
        self._close_accounts()
        calls = sorted(self._control_ns)
        document = {
            "rows": self._filled // len(PROBE_FIELDS),
            "opened": self._opened,
            "nonces": self._prefix.decode(),
            "residual_tunnels": self._residual,
            "seen_ports": self._seen_ports,
            "control_ns": {"p50": calls[len(calls) // 2], "max": calls[-1]} if calls else None,
            "usage": self._proxies.document(),
            **self._verification.document(),
        }
        return Reply(document=document, payload=self._rows[: self._filled].tobytes())

    def _prime(self) -> None:
        """Open the tunnel that warm probes want, by a connection that leaves no row."""
        self._probe(0, CODES[State.WARM], monotonic_ns() + self._gap_ns, later=0)
        self._filled = 0
        self._seen_ports.clear()

    def _control(self, connection: int, wish: Wish) -> None:
        started_ns = monotonic_ns()
        for channel in self._channels:
            channel.send(wish.op)
        for index, channel in enumerate(self._channels):
            left = channel.receive().document
            self._proxies.read(index, left, wish.state.value)
            if wish.state is State.COLD and (left["tunnels_outbound"] or left["tunnels_inbound"]):
                self._residual.append({"connection": connection, "socket": str(channel.path), **left})
        self._control_ns.append(monotonic_ns() - started_ns)

    def _close_accounts(self) -> None:
        """Ask once more, so that the last probe's use is known, and then for what asking itself costs."""
        for left in range(CONTROLS, -1, -1):
            for channel in self._channels:
                channel.send("nothing")
            for index, channel in enumerate(self._channels):
                self._proxies.read(index, channel.receive().document, CONTROL if left else None)
            sleep_until(monotonic_ns() + (self._gap_ns if left and self._channels else 0))

    def _probe(self, connection: int, state: int, intended_ns: int, *, later: int) -> None:
        """One connection with all its requests; the first that fails ends it."""
        exchange = wire.Exchange(self._target, self._source, self._response_bytes, self._verification)
        address = (self._target.address, self._target.port)
        with _socket(wire.family(self._target.address)) as sock:
            for sequence in range(1 + later):
                self._nonces += 1
                nonce = b"%s%08x" % (self._prefix, self._nonces)
                request = exchange.request(nonce)
                # Times of steps that were not reached stay 0, and such a row is never `ok`.
                connected_ns = sent_ns = first_byte_ns = end_ns = 0
                ok = False
                sleep_until(intended_ns)
                start_ns = monotonic_ns()
                try:
                    if sequence == 0:
                        self._opened += 1
                        sock.connect(address)
                        connected_ns = monotonic_ns()
                    else:
                        connected_ns = start_ns
                    sock.sendall(request)
                    sent_ns = monotonic_ns()
                    size = sock.recv_into(exchange.buffer)
                    first_byte_ns = monotonic_ns()
                    if size != exchange.total:
                        size = exchange.complete(sock.recv_into, size)
                    end_ns = monotonic_ns()
                    ok = exchange.judge(size, nonce)
                except OSError as exc:
                    self._verification.errors[wire.error_kind(exc)] += 1
                except wire.BadAnswer as exc:
                    self._verification.errors[exc.kind] += 1
                port = sock.getsockname()[1]
                if ok and sequence == 0:
                    self._seen_ports.append((port, exchange.seen_port))
                self._record(
                    connection,
                    sequence,
                    state if sequence == 0 else CODES[State.STEADY],
                    intended_ns,
                    start_ns,
                    connected_ns,
                    sent_ns,
                    first_byte_ns,
                    end_ns,
                    port,
                    ok,
                )
                if not ok:
                    break
                intended_ns = (end_ns if sequence == 0 else intended_ns) + self._interval_ns
            else:
                self._close(sock)
        exchange.end()

    def _record(self, *row: int) -> None:
        width = len(PROBE_FIELDS)
        self._rows[self._filled : self._filled + width] = array("q", row)
        self._filled += width

    def _close(self, sock: socket.socket) -> None:
        """End our direction and wait for the peer to end its own."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(CLOSE_TIMEOUT_S))
        try:
            sock.shutdown(socket.SHUT_WR)
            if sock.recv(1):
                self._verification.errors["late-bytes"] += 1
        except OSError as exc:
            self._verification.errors[f"close-{wire.error_kind(exc)}"] += 1


def _socket(family: socket.AddressFamily) -> socket.socket:
    """A blocking socket with the kernel's own time-outs: Python's would add a poll before each call."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _timeval(ANSWER_TIMEOUT_S))
    return sock


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))


def probe(request: dict[str, Any]) -> Reply:
    """Op `probe`: see the control channel's description."""
    with ExitStack() as stack:
        try:
            channels = [stack.enter_context(Channel(Path(path))) for path in request["bench_sockets"]]
            return Batch(request, channels).run()
        except ControlError as exc:
            raise Refused(f"cell {request.get('cell')}: bench socket: {exc}", kind="bench-socket") from exc
        except (KeyError, TypeError, ValueError) as exc:
            raise Refused(f"cell {request.get('cell')}: bad request: {exc!r}", kind="bad-request") from exc


def main() -> None:
    """Answer `probe` at a control socket until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="harness.load.probe", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    path: Path = parser.parse_args().socket
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    tighten()
    gc.freeze()
    gc.disable()  # a cell makes no cycles worth a pause in its middle
    path.parent.mkdir(parents=True, exist_ok=True)
    serve(path, {"probe": probe, "rtt": pingpong, "paced": paced})


if __name__ == "__main__":
    main()
