"""One process's reply for all lanes -> a reply per lane. Pure; for the harness, not its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.control import Reply

SHARED = ("lag_p99_ns", "settle_ns", "together", "waited_ns", "workers")
"""What holds for the process and is told of each of its lanes."""
ROWS = "rows"
"""In the place of turns: each row is one."""


def split(reply: Reply) -> dict[int, Reply]:
    """Deal rows, turns and counts out to the lanes.

    Args:
        reply: Of a load process: `lanes` by number, `fields` of a row (the lane first), `turns` as rows of
            (lane, start_ns, end_ns, drained), or the word `rows` where each row is a turn.

    Returns:
        Lane -> its reply: rows without the lane, the lane's own document, what holds for the process, and of
        its turns `started_ns`, `ended_ns`, `elapsed_ns` (their sum), `turns` (start_ns, end_ns, drained), and
        `among`: how they lie among all lanes' (`own`: how many, `overlap_ns`, `places` in their cycles).
    """
    document = reply.document
    fields: Sequence[str] = document["fields"]
    rows = np.frombuffer(reply.payload, dtype="<i8").reshape(-1, len(fields))
    replies = {}
    lasted = _lasted(document["turns"], rows, fields)
    for name, told in document["lanes"].items():
        own = rows[rows[:, 0] == int(name), 1:]
        shared = {key: document[key] for key in SHARED if key in document}
        turns = {**_turns(document["turns"], int(name), lasted), "among": _among(lasted, int(name))}
        if document["turns"] == ROWS:  # their order is the probe's own: no cycle is told of
            turns["among"]["places"] = []
        replies[int(name)] = Reply(document={**told, **shared, **turns}, payload=own.tobytes())
    return replies


def asked(request: Mapping[str, Any], lane: int) -> dict[str, Any]:
    """What a request asks of one lane: its own entry, and what is common to all."""
    common = {key: value for key, value in request.items() if key != "lanes"}
    own: dict[str, Any] = next(entry for entry in request["lanes"] if entry["lane"] == lane)
    return common | own


def _lasted(
    turns: str | Sequence[Sequence[Any]], rows: NDArray[np.int64], fields: Sequence[str]
) -> NDArray[np.int64]:
    """All turns in the order in which they began: lane, start_ns, end_ns."""
    if turns == ROWS:
        found = rows[:, [0, fields.index("start_ns"), fields.index("end_ns")]]
        found = found[found[:, 2] > 0]  # a time that was not reached is 0
    else:
        found = np.array([turn[:3] for turn in turns], dtype=np.int64).reshape(-1, 3)
    return found[np.argsort(found[:, 1], kind="stable")]


def _turns(turns: str | Sequence[Sequence[Any]], lane: int, lasted: NDArray[np.int64]) -> dict[str, Any]:
    _, starts, ends = lasted[lasted[:, 0] == lane].T
    return {
        "started_ns": int(starts.min()) if len(starts) else 0,
        "ended_ns": int(ends.max()) if len(ends) else 0,
        "elapsed_ns": int((ends - starts).sum()),
        "turns": [] if isinstance(turns, str) else [list(turn[1:]) for turn in turns if turn[0] == lane],
    }


def _among(lasted: NDArray[np.int64], lane: int) -> dict[str, Any]:
    """How a lane's turns lie among those of all lanes."""
    mine = lasted[:, 0] == lane
    _, starts, ends = lasted[mine].T
    _, *others = lasted[~mine].T
    overlap = _spent_before(ends, *others) - _spent_before(starts, *others)
    counts = np.unique(lasted[:, 0], return_counts=True)[1]
    places: list[int] = []
    if len(set(counts.tolist())) == 1 and counts[0] > 1:
        at = np.flatnonzero(mine) % len(counts)
        places = np.bincount(at, minlength=len(counts)).tolist()
    return {"own": int(mine.sum()), "overlap_ns": int(overlap.sum()), "places": places}


def _spent_before(
    instants: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How long intervals had lasted, all together, at each instant."""

    def since(edges: NDArray[np.int64]) -> NDArray[np.int64]:
        ordered = np.sort(edges)
        passed = np.searchsorted(ordered, instants)
        sums = np.concatenate(([0], np.cumsum(ordered)))
        total: NDArray[np.int64] = passed * instants - sums[passed]
        return total

    spent: NDArray[np.int64] = since(starts) - since(ends)
    return spent
