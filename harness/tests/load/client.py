"""The load processes' ops as typed functions, for their tests: rows as arrays, documents as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.control import Channel, ControlError, Reply
from harness.load.blocking import ANSWER_TIMEOUT_S
from harness.load.probe import Wish
from harness.load.records import PROBE_FIELDS, REQUEST_FIELDS, TRANSFER_FIELDS
from harness.load.split import split
from harness.load.wire import Target
from harness.plan.model import State
from harness.tests.load.running import lane

PATIENCE_S = 30.0
"""Beyond what an op must take, before it counts as hung."""

Rows = NDArray[np.int64]
"""One row per sample; the columns are the fields of `harness.load.records`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was compared in the answers, and how often it was wrong."""

    checked: int
    wrong_nonce: int
    wrong_pod: int
    wrong_node: int
    wrong_source: int
    wrong_bytes: int

    @property
    def wrong(self) -> int:
        """Mismatches of any kind; an answer can have several."""
        return self.wrong_nonce + self.wrong_pod + self.wrong_node + self.wrong_source + self.wrong_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What every op tells."""

    opened: int
    """TCP connections opened, those included that left no row (warm-up)."""
    verification: Verification
    answers: Mapping[str, int]
    """`pod/node/source` -> answers that said so."""
    errors: Mapping[str, int]
    """Kind -> count; nothing is ever tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualTunnels:
    """Tunnels that a proxy still had after `drop-tunnels`, before a cold probe."""

    connection: int
    socket: str
    tunnels_outbound: int
    tunnels_inbound: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed(Outcome):
    """Answer to `probe`; rows have `PROBE_FIELDS`."""

    rows: Rows
    residual_tunnels: tuple[ResidualTunnels, ...]
    seen_ports: tuple[tuple[int, int], ...]
    """Per first packet: the client's own port, and the one that the backend saw."""
    control_p50_ns: int
    control_max_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed(Outcome):
    """What ops with a window tell besides."""

    rows: Rows
    started_ns: int
    ended_ns: int
    turns: Sequence[tuple[int, int, bool]]
    """The lane's blocks: start, end, whether it was drained."""
    cpu_ns: int
    """CPU time of the Locust process in the lane's turns."""
    lag_p99_ns: int | None
    """How late the process noticed instants; None for a window too short to look once."""
    locust_requests: int
    locust_failures: int
    locust_mean_ns: int
    """Locust's own books, fed from the users' tallies and not from the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested(Windowed):
    """Answer to `requests`; rows have `REQUEST_FIELDS`. The last three are 0 in a closed loop."""

    scheduled: int
    """Requests whose intended time lay in the window."""
    late: int
    """Of these, started over 1 ms late."""
    unsent: int
    """Of these, never started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred(Windowed):
    """Answer to `transfer`; rows have `TRANSFER_FIELDS`."""


def probe(
    channel: Channel,
    *,
    cell: str,
    target: Target,
    source: str,
    states: Sequence[Wish],
    later_requests: int,
    gap_ns: int,
    later_interval_ns: int,
    response_bytes: int,
    bench_sockets: Sequence[Path],
) -> Probed:
    """Make a cell's first-packet probes.

    Args:
        cell: The cell's name; it seeds the order of the probes.
        source: The address that answers must have seen.
        gap_ns: Pause between control call and connect.
        later_interval_ns: Pace of the later requests.
        bench_sockets: The proxies' sockets; each gets one call before every probe.

    Raises:
        ControlError: The probe process or a proxy refused.
        Unreachable: The probe process does not answer, or not in time.
    """
    per_probe_s = (gap_ns + later_requests * later_interval_ns) / 1e9 + ANSWER_TIMEOUT_S
    reply = channel.call(
        "probe",
        timeout_s=sum(wish.count for wish in states) * per_probe_s + PATIENCE_S,
        bout=cell,
        seed=cell,
        lanes=[
            lane(
                target,
                source=source,
                states=[asdict(wish) for wish in states],
                bench_sockets=[str(path) for path in bench_sockets],
            )
        ],
        later_requests=later_requests,
        gap_ns=gap_ns,
        later_interval_ns=later_interval_ns,
        response_bytes=response_bytes,
    )
    reply = split(reply)[0]
    document = reply.document
    control = document["control_ns"] or {"p50": 0, "max": 0}
    return Probed(
        rows=_rows(channel, reply, PROBE_FIELDS),
        residual_tunnels=tuple(ResidualTunnels(**left) for left in document["residual_tunnels"]),
        seen_ports=tuple((mine, theirs) for mine, theirs in document["seen_ports"]),
        control_p50_ns=control["p50"],
        control_max_ns=control["max"],
        **_outcome(document),
    )


def requests(
    channel: Channel,
    *,
    cell: str,
    target: Target,
    source: str,
    connections: int,
    seconds: float,
    rate_hz: float,
    response_bytes: int,
) -> Requested:
    """Send requests on live connections for a window: back to back, or at `rate_hz` over all of them.

    Raises:
        ControlError: Not all connections got ready (kind `not-ready`), or the request was bad.
        Unreachable: The Locust process does not answer, or not in time.
    """
    reply = channel.call(
        "requests",
        timeout_s=seconds + PATIENCE_S,
        bout=cell,
        seed=cell,
        lanes=[lane(target, source=source)],
        connections=connections,
        seconds=seconds,
        rate_hz=rate_hz,
        response_bytes=response_bytes,
    )
    reply = split(reply)[0]
    document = reply.document
    return Requested(
        scheduled=document["scheduled"],
        late=document["late"],
        unsent=document["unsent"],
        rows=_rows(channel, reply, REQUEST_FIELDS),
        **_window(document),
    )


def transfer(
    channel: Channel, *, cell: str, target: Target, source: str, streams: int, seconds: float
) -> Transferred:
    """Download from the source (`target.port`) for a window.

    Raises:
        ControlError: Not all streams got ready (kind `not-ready`), or the request was bad.
        Unreachable: The Locust process does not answer, or not in time.
    """
    reply = channel.call(
        "transfer",
        timeout_s=seconds + PATIENCE_S,
        bout=cell,
        seed=cell,
        lanes=[lane(target, source=source)],
        streams=streams,
        seconds=seconds,
    )
    reply = split(reply)[0]
    return Transferred(rows=_rows(channel, reply, TRANSFER_FIELDS), **_window(reply.document))


def _rows(channel: Channel, reply: Reply, fields: tuple[str, ...]) -> Rows:
    rows = np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(fields))
    if len(rows) != reply.document["rows"]:
        raise ControlError(
            f"{channel.path}: said {reply.document['rows']} rows, sent {len(rows)}", kind="lost-rows"
        )
    return rows


def _outcome(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "opened": document["opened"],
        "verification": Verification(**document["verification"]),
        "answers": document["answers"],
        "errors": document["errors"],
    }


def _window(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "started_ns": document["started_ns"],
        "ended_ns": document["ended_ns"],
        "turns": document["turns"],
        "cpu_ns": document["cpu_ns"],
        "lag_p99_ns": document["lag_p99_ns"],
        "locust_requests": document["locust"]["requests"],
        "locust_failures": document["locust"]["failures"],
        "locust_mean_ns": document["locust"]["mean_ns"],
        **_outcome(document),
    }


def probe_frame(rows: Rows) -> pd.DataFrame:
    """Probe rows with words for states."""
    codes = rows[:, PROBE_FIELDS.index("state")]
    frame = pd.DataFrame(rows, columns=list(PROBE_FIELDS))
    frame["state"] = pd.Categorical.from_codes(codes, categories=pd.Index([state.value for state in State]))
    return frame


def request_frame(rows: Rows) -> pd.DataFrame:
    """Request rows by name."""
    return pd.DataFrame(rows, columns=list(REQUEST_FIELDS))


def transfer_frame(rows: Rows) -> pd.DataFrame:
    """Transfer rows by name."""
    return pd.DataFrame(rows, columns=list(TRANSFER_FIELDS))
