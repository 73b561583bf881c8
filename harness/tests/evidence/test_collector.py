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
from harness.evidence.sources import delay, journal, known
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
"""The round's, as the first cell's start found it."""

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


def _namespace() -> dict[str, Any]:
    return {
        "kind": "pod",
        "rules": [{"table": "mangle", "chain": "X", "rule": "wire-other", "packets": 3, "bytes": 9}],
        "digest": "d",
        "expected_digest": "d",
        "conntrack": 0,
        "netstat": {"TcpExt.ListenDrops": 0},
        "links": {},
        "stray": 0,
    }


def _agent(path: Path, node: str) -> Member:
    return Member(
        path,
        {
            "conntrack-flush": lambda _: Reply(document={}),
            "counters": lambda _: Reply(document={"namespaces": {f"node-{node}": _namespace()}}),
            "conntrack-dump": lambda _: Reply(
                document={"namespaces": {f"node-{node}": {"entries": [], "others": 0, "counted": 0}}}
            ),
            "listen": lambda _: Reply(document={}),
            "heard": lambda asked: Reply(
                document={"frames": 4, "hits": int(asked["nonce"] == "0f0f"), "unkept": 0}
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
        collector = Collector(channels, {"a": stats}, METER, PROVED)
        collector.start()
        collector.listen()
        with collector.metering("probe"):
            pass
        collector.stage("probe", {"states": []}, _reply())
        collector.stage("requests", {"connections": 1, "rate_hz": 0}, {**_reply(), **_health()})
        documents = collector.finish()

    # the cell adds what its distance was
    documents |= {delay.NAME: delay.collect(delay.NO_LINE, [])}
    assert sorted(documents) == sorted(known())
    for source in known().values():
        source.read(documents)
    assert sorted(documents["rules"]["after"]) == ["node-a", "node-b"]
    assert list(documents["generator"]["stages"]) == ["requests"]
    assert [member.asked for member in members] == [
        ["conntrack-flush", "counters", "listen", "heard", "counters", "conntrack-dump"]
    ] * 2
    assert {"frames": 4, "hits": 1, "unkept": 0} == documents["nonces"]["cell"]["b"]
    assert PROVED["nonces"] == documents["nonces"]["control"]
    assert PROVED["clock"] == documents["clock"]


def test_waits_until_the_proxy_has_finished_its_books(
    tmp_path: Path, agents: tuple[list[Member], dict[str, Channel]]
) -> None:
    behind = [{**STATS, "completed_outbound_hbone": 4}, {**STATS, "connects_accepted": 4}]
    replies = iter([*behind, STATS, STATS, *behind])
    proxy = Member(tmp_path / "p.sock", {"stats": lambda _: Reply(document=next(replies, STATS)), **JOURNAL})
    with Channel(proxy.path, connect_timeout_s=5) as stats:
        collector = Collector(agents[1], {"a": stats}, METER, PROVED)
        collector.start()
        documents = collector.finish()

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
        collector = Collector(agents[1], {"a": stats}, METER, PROVED)
        collector.start()
        collector.stage("probe", {"states": []}, {**_reply(), "seen_ports": [[4000, 4000]]})
        documents = collector.finish()

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
        collector = Collector(agents[1], {"a": stats}, METER, PROVED)
        collector.start()
        documents = collector.finish()

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
        collector = Collector({"a": first, "b": second}, {}, METER, PROVED)
        with pytest.raises(ControlError, match="pod-x is gone"):
            collector.start()

        assert "namespaces" in second.call("counters").document


def _reply() -> dict[str, Any]:
    return {
        "rows": 1,
        "opened": 1,
        "nonces": "0f0f",
        "verification": {"checked": 1},
        "answers": {},
        "errors": {},
        "residual_tunnels": [],
    }


def _health() -> dict[str, Any]:
    return {"started_ns": 1, "ended_ns": 2, "cpu_ns": 1, "lag_p99_ns": None, "scheduled": 0}
