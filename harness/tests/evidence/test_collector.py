"""The collector against real control channels, with agents and proxies that tell an honest cell's story."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.control import Channel, ControlError, Handler, Refused, Reply, serve
from harness.evidence.collector import Collector
from harness.evidence.sources import delay, journal, known, starts
from harness.evidence.sources.cpu import Component, Meter
from harness.evidence.sources.journal import FIELDS

PROVED: dict[str, dict[str, Any]] = {
    "canary": {"schema_version": 1, "source": "canary", "cell": "c", "not_made": "no proxy"},
    "refusal": {"schema_version": 1, "source": "refusal", "cell": "c", "not_made": "no proxy"},
    "clock": {"schema_version": 1, "source": "clock", "cell": "c", "link": "lo", "asked": 0}
    | {key: {"before_ns": 1, "wall_ns": 9, "after_ns": 2} for key in ("before", "after")}
    | {"connections": []},
    "nonces": {"cell": "c", "node": "a", "nodes": {}},
}
"""What was proved of the lane before."""

METER = Meter({Component.GENERATOR: [os.getpid()]})
STATS = {
    **dict.fromkeys(("accepted_outbound", "completed_outbound_hbone", "connects_received"), 5),
    **dict.fromkeys(("completed_outbound_passthrough", "completed_outbound_denied"), 0),
    **dict.fromkeys(("completed_outbound_failed", "connects_denied", "connects_failed"), 0),
    "connects_accepted": 5,
}
JOURNAL: Mapping[str, Handler] = {
    "journal": lambda request: Reply(document=request),
    "take-journal": lambda _: Reply(document={"fields": FIELDS, "rows": [], "lost": 0, "open": 0}),
}


class Member:
    """An agent or proxy that answers from a script and notes what it was asked."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self.path = path
        self.asked: list[str] = []
        noting = {op: self._noting(op, handler) for op, handler in handlers.items()}
        threading.Thread(target=serve, args=(path, noting), daemon=True).start()

    def _noting(self, op: str, handler: Handler) -> Handler:
        def handle(request: dict[str, Any]) -> Reply:
            self.asked.append(op)
            return handler(request)

        return handle


def _namespace(lane: int = 0) -> dict[str, Any]:
    return {
        "kind": "pod",
        "lane": lane,
        "rules": [
            {"table": "mangle", "chain": "X", "lane": of, "rule": "wire-other", "packets": of, "bytes": 9}
            for of in (0, 1, 2)
            if lane in {0, of}
        ],
        "digest": "d",
        "expected_digest": "d",
        "conntrack": 0,
        "netstat": {"TcpExt.ListenDrops": 0},
        "links": {},
        "stray": {"0": 1, "2": 7},
    }


NONCES = {1: "0f0f", 2: "abab"}
"""Lane -> with what its nonces begin."""


def _agent(path: Path, node: str) -> Member:
    """An agent of a node with a pod of each lane."""

    def counters(asked: dict[str, Any]) -> Reply:
        pods = {f"pod-{lane}-{node}": _namespace(lane) for lane in asked.get("lanes", ())}
        return Reply(document={"namespaces": {f"node-{node}": _namespace(), **pods}})

    def dump(asked: dict[str, Any]) -> Reply:
        names = [f"node-{node}", *(f"pod-{lane}-{node}" for lane in asked["lanes"])]
        table = {"entries": [], "others": 0, "counted": 0}
        return Reply(document={"namespaces": dict.fromkeys(names, table)})

    return Member(
        path,
        {
            "conntrack-flush": lambda _: Reply(document={}),
            "counters": counters,
            "conntrack-dump": dump,
            "listen": lambda _: Reply(document={}),
            "heard": lambda asked: Reply(
                document={
                    nonce: {"frames": 4, "hits": int(nonce == NONCES[1]), "unkept": 0}
                    for nonce in asked["nonces"]
                }
            ),
        },
    )


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[tuple[list[Member], dict[str, Channel]]]:
    members = [_agent(tmp_path / f"{node}.sock", node) for node in "ab"]
    channels = {
        node: Channel(member.path, connect_timeout_s=5) for node, member in zip("ab", members, strict=True)
    }
    yield members, channels
    for channel in channels.values():
        channel.close()


def test_documents_of_all_sources_are_readable(
    tmp_path: Path, agents: tuple[list[Member], dict[str, Channel]]
) -> None:
    members, channels = agents
    proxy = Member(tmp_path / "proxy.sock", {"stats": lambda _: Reply(document=STATS), **JOURNAL})
    with Channel(proxy.path, connect_timeout_s=5) as stats:
        collector = Collector(channels, {1: {"a": stats}}, {1: METER}, {1: PROVED})
        collector.start()
        collector.listen()
        with collector.metering("probe"):
            pass
        collector.stage(1, "probe", {"states": []}, _reply())
        collector.staged("probe")
        collector.stage(1, "requests", {"connections": 1, "rate_hz": 0}, {**_reply(), **_health()})
        collector.staged("requests")
        documents = collector.finish()[1]

    # the bout adds what its distance was, and when its proxies began
    documents |= {delay.NAME: delay.collect(delay.NO_LINE, []), starts.NAME: starts.collect(0, {})}
    assert sorted(documents) == sorted(known())
    for source in known().values():
        source.read(documents)
    assert sorted(documents["rules"]["after"]) == ["node-a", "node-b", "pod-1-a", "pod-1-b"]
    assert list(documents["generator"]["stages"]) == ["probe", "requests"]
    assert [member.asked for member in members] == [
        ["conntrack-flush", "counters", "listen", "heard", "counters", "conntrack-dump"]
    ] * 2
    assert {"frames": 4, "hits": 1, "unkept": 0} == documents["nonces"]["cell"]["b"]
    assert PROVED["nonces"] == documents["nonces"]["control"]
    assert PROVED["clock"] == documents["clock"]


def _proxy_with_tunnels(path: Path, opened: int) -> Member:
    return Member(path, {"stats": lambda _: Reply(document={**STATS, "tunnels_opened": opened}), **JOURNAL})


def test_each_lane_gets_its_own_counts_only(
    tmp_path: Path, agents: tuple[list[Member], dict[str, Channel]]
) -> None:
    """Two lanes of one bout: the agents are asked once for both, and none is told of the other's."""
    members, channels = agents
    proxies = {lane: _proxy_with_tunnels(tmp_path / f"proxy-{lane}.sock", lane) for lane in (1, 2)}
    proved = {lane: {**PROVED, "canary": {**PROVED["canary"], "cell": f"c{lane}"}} for lane in (1, 2)}
    with (
        Channel(proxies[1].path, connect_timeout_s=5) as first,
        Channel(proxies[2].path, connect_timeout_s=5) as second,
    ):
        collector = Collector(channels, {1: {"a": first}, 2: {"a": second}}, {1: METER, 2: METER}, proved)
        collector.start()
        collector.listen()
        with collector.metering("probe"):
            pass
        for lane, nonces in NONCES.items():
            collector.stage(lane, "probe", {"states": []}, {**_reply(), "rows": lane, "nonces": nonces})
        collector.staged("probe")
        documents = collector.finish()

    assert [member.asked for member in members] == [
        ["conntrack-flush", "counters", "listen", "heard", "counters", "conntrack-dump"]
    ] * 2
    for lane, own in documents.items():
        pods = {f"pod-{lane}-{node}" for node in "ab"}
        assert set(own["rules"]["after"]) == {"node-a", "node-b", *pods}
        assert pods == set(own["conntrack"]["entries"]) - {"node-a", "node-b"}
        counted = {rule["lane"] for rule in own["rules"]["after"]["node-a"]["rules"]}
        assert counted == {0, lane}
        assert own["tunnels"]["after"]["a"]["tunnels_opened"] == lane
        assert own["answers"]["stages"]["probe"]["rows"] == lane
        assert own["nonces"]["cell"]["a"]["hits"] == (1 if lane == 1 else 0)
        assert own["canary"]["cell"] == f"c{lane}"


def test_waits_until_the_proxy_has_finished_its_books(
    tmp_path: Path, agents: tuple[list[Member], dict[str, Channel]]
) -> None:
    behind = [{**STATS, "completed_outbound_hbone": 4}, {**STATS, "connects_accepted": 4}]
    replies = iter([*behind, STATS, STATS, *behind])
    proxy = Member(tmp_path / "p.sock", {"stats": lambda _: Reply(document=next(replies, STATS)), **JOURNAL})
    with Channel(proxy.path, connect_timeout_s=5) as stats:
        collector = Collector(agents[1], {1: {"a": stats}}, {1: METER}, {1: PROVED})
        collector.start()
        documents = collector.finish()[1]

    assert documents["tunnels"]["after"]["a"] == STATS
    assert proxy.asked.count("stats") == 3 + 1 + 3


def test_journals_are_taken_after_the_probes_until_every_connection_has_ended(
    tmp_path: Path, agents: tuple[list[Member], dict[str, Channel]]
) -> None:
    line = ["outbound", "hbone", "10.0.0.1:4000", "10.0.0.2:80", "", "", None, 5, *[None] * (len(FIELDS) - 8)]
    replies = iter([(1, 1), (0, 0)])

    def take(_: dict[str, Any]) -> Reply:
        rows, still_open = next(replies)
        return Reply(document={"fields": FIELDS, "rows": [line] * rows, "lost": 0, "open": still_open})

    handlers = {"stats": lambda _: Reply(document=STATS), **JOURNAL, "take-journal": take}
    proxy = Member(tmp_path / "p.sock", handlers)
    with Channel(proxy.path, connect_timeout_s=5) as stats:
        collector = Collector(agents[1], {1: {"a": stats}}, {1: METER}, {1: PROVED})
        collector.start()
        collector.stage(1, "probe", {"states": []}, {**_reply(), "seen_ports": [[4000, 4000]]})
        collector.staged("probe")
        documents = collector.finish()[1]

    assert proxy.asked == [
        *("stats", "stats", "journal", "stats", "take-journal", "take-journal", "journal", "stats")
    ]
    found = journal.read(documents)
    assert [each.source for each in found.book("a").entries] == ["10.0.0.1:4000"]
    assert found.seen == ((4000, 4000),)


def test_a_proxy_without_a_journal_is_not_asked_for_one(
    tmp_path: Path, agents: tuple[list[Member], dict[str, Channel]]
) -> None:
    proxy = Member(
        tmp_path / "p.sock", {"stats": lambda _: Reply(document={**STATS, "unproven": ["journal"]})}
    )
    with Channel(proxy.path, connect_timeout_s=5) as stats:
        collector = Collector(agents[1], {1: {"a": stats}}, {1: METER}, {1: PROVED})
        collector.start()
        documents = collector.finish()[1]

    assert journal.read(documents).unproven == {"a"}


def test_refusal_leaves_no_answer_behind(tmp_path: Path) -> None:
    """The other agent's answer to the same question must not be taken for the next one's."""

    def refuse(_: dict[str, Any]) -> Reply:
        raise Refused("namespace pod-x is gone")

    failing = Member(tmp_path / "a.sock", {"conntrack-flush": refuse})
    working = _agent(tmp_path / "b.sock", "b")
    with (
        Channel(failing.path, connect_timeout_s=5) as first,
        Channel(working.path, connect_timeout_s=5) as second,
    ):
        collector = Collector({"a": first, "b": second}, {1: {}}, {1: METER}, {1: PROVED})
        with pytest.raises(ControlError, match="pod-x is gone"):
            collector.start()

        assert "namespaces" in second.call("counters").document


def _reply() -> dict[str, Any]:
    return {
        "rows": 1,
        "opened": 1,
        "nonces": "0f0f",
        "among": {"own": 1, "overlap_ns": 0, "places": []},
        "verification": {"checked": 1},
        "answers": {},
        "errors": {},
        "residual_tunnels": [],
        "elapsed_ns": 1,
        "cpu_ns": 1,
        "lag_p99_ns": None,
    }


def _health() -> dict[str, Any]:
    return {"scheduled": 0, "locust": {"requests": 1}}
