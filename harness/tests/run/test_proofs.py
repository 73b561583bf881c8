"""What is proved of each lane: how often, by whom, and what is written down where it cannot be."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.control import Reply
from harness.evidence.sources import canary, clock, nonces, refusal
from harness.load.records import PROBE_FIELDS
from harness.plan.model import Cell, Configuration, Interception, Path, Reuse
from harness.run.asks import Ask, Way
from harness.run.proofs import CLOCKED, Proofs
from harness.suite import load_suite
from harness.testbed.placement import Placement
from harness.topology.allocator import resolve
from harness.topology.canary import ADDRESS, PORT
from harness.topology.layout import Layout
from harness.topology.model import IpFamily, Pod, Topology, TopologySpec

if TYPE_CHECKING:
    from harness.testbed.lane import Lane
    from harness.testbed.testbed import Testbed  # pytest would take it for a class of tests

SMOKE = load_suite("smoke", []).topology
BRACKET = {"before_ns": 10, "wall_ns": 1_000_015, "after_ns": 20}


@dataclass
class Member:
    """An agent or a proxy."""

    bed: Bed

    def call(self, op: str, **arguments: object) -> Reply:
        return Reply(document=self.bed.answer(op, arguments))


@dataclass
class Bed:
    """A testbed and its only lane, where all goes as it should; a refusal is counted a moment after it."""

    topology: Topology
    layout: Layout = Layout(FilePath("/run/x"))
    number: int = 1
    lacks: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = field(
        default_factory=lambda: Placement(dataplane="pyztunnel", interception=Interception.REDIRECT)
    )
    asked: Counter[str] = field(default_factory=Counter)
    captured: list[int] = field(default_factory=list)
    """Filler rules, each time that rules were written."""
    probed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    attempts: list[Mapping[str, object]] = field(default_factory=list)
    looks: int = 0

    def capture(self, interception: Interception, filler_rules: int = 0) -> None:
        self.placement = replace(self.placement, interception=interception, filler_rules=filler_rules)
        self.captured.append(filler_rules)

    def agent(self, _node: str) -> Member:
        return Member(self)

    proxy = agent

    def ask_agents(self, op: str, **arguments: object) -> dict[str, Reply]:
        return {node: Reply(document=self.answer(op, arguments)) for node in "ab"}

    ask_proxies = ask_agents

    def put(self, ask: Ask) -> Reply:
        self.probed.append((ask.stage, ask.arguments))
        (lane,) = ask.arguments["lanes"]
        count = lane["states"][0]["count"]
        fields = ["lane", *PROBE_FIELDS]
        rows = [
            row
            for port in range(count)
            for row in (lane["lane"], port, 0, 2, 0, 0, 30, 35, 60, 61, 40_000 + port, 1)
        ]
        told = {"nonces": "0f0f", "verification": {"checked": count, "wrong_pod": 0}, "errors": {}}
        document = {"fields": fields, "turns": "rows", "lanes": {str(lane["lane"]): told}}
        return Reply(document=document, payload=array("q", rows).tobytes())

    def answer(self, op: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.asked[op] += 1
        match op:
            case "stamp":
                return {"link": "lo"}
            case "stamped":
                moments = {"syn_ns": 1_000_010, "syn_ack_ns": 1_000_020, "answer_ns": 1_000_050}
                seen = {str(port): moments for port in arguments["ports"]}
                return {"before": BRACKET, "after": BRACKET, "connections": seen}
            case "heard":
                return {
                    nonce: {"frames": CLOCKED, "hits": CLOCKED, "unkept": 0} for nonce in arguments["nonces"]
                }
            case "attempt":
                self.attempts.append(arguments)
                return {"connected": True, "answer_bytes": 0, "ended": "ECONNRESET"}
            case "stats":
                self.looks += bool(self.attempts)
                denied = int(self.looks > 2)
                streams = sum(what == "canary" for what, _ in self.probed)
                counts = {"connects_denied": denied, "flagged_deny": denied, "connects_accepted": 7}
                return {**counts, "streams_opened": streams}
        return {}


def proving(spec: TopologySpec = SMOKE, **lacks: str) -> tuple[Bed, Proofs]:
    bed = Bed(topology=resolve(spec), lacks=lacks)
    return bed, Proofs(cast("Testbed", bed), bed.put)


def way(bed: Bed, index: int = 0, *, round_: int = 1, filler_rules: int = 0, **factors: Any) -> Way:
    """A cell's way, on a lane that carries what the cell asks for."""
    wanted = Configuration(
        path=Path.CROSS_NODE,
        **{"dataplane": "pyztunnel", "interception": Interception.REDIRECT, **factors},
        filler_rules=filler_rules,
    )
    if wanted.dataplane == "none":
        wanted = replace(wanted, interception=Interception.NONE)
    bed.placement = Placement(
        dataplane=wanted.dataplane, interception=wanted.interception, filler_rules=filler_rules
    )
    source = bed.topology.member("client")
    assert isinstance(source, Pod)
    return Way(
        cell=Cell(index=index, round=round_, bout=0, lane=bed.number, configuration=wanted),
        lane=cast("Lane", bed),
        source=source,
        target=bed.topology.member("server-remote"),
        sockets="/run/x/sockets",
    )


def test_a_lane_is_proved_once_a_round_for_what_it_carries() -> None:
    bed, proofs = proving(load_suite("ipv6", []).topology)
    ways: list[dict[str, Any]] = [
        {"index": 0},
        {"index": 1, "reuse": Reuse.OFF},
        {"index": 2, "interception": Interception.TPROXY},
        {"index": 3, "dataplane": "none"},
        {"index": 4, "round_": 2, "dataplane": "none"},
        {"index": 5, "round_": 2},
        {"index": 6, "round_": 2, "ip_family": IpFamily.IPV6},
    ]

    cells = [proofs.of(way(bed, **each))["clock"]["cell"].partition("-")[0] for each in ways]

    assert ["0000", "0000", "0002", "0003", "0004", "0005", "0006"] == cells
    assert 4 == len(bed.attempts)


def test_every_lane_is_proved_on_its_own() -> None:
    bed, proofs = proving()
    proofs.of(way(bed))

    bed.number = 2
    found = proofs.of(way(bed, 1))

    assert found["clock"]["cell"].startswith("0001")
    assert {1, 2} == {attempt["lane"] for attempt in bed.attempts}


def test_cells_of_a_round_tell_where_it_was_proved() -> None:
    bed, proofs = proving()
    first = way(bed, 4)

    made = proofs.of(first)
    told = proofs.of(way(bed, 9))

    assert made == told
    assert {first.cell.name} == {document["cell"] for document in told.values()}


def test_what_is_forgotten_is_proved_again() -> None:
    bed, proofs = proving()
    proofs.of(way(bed))

    proofs.forget()

    assert proofs.of(way(bed, 1))["clock"]["cell"].startswith("0001")


def test_filler_rules_are_away_while_a_lane_is_proved_and_back_after_it() -> None:
    """They lie between the packet's stamp and the load's time on the way back alone."""
    bed, proofs = proving()

    proofs.of(way(bed, filler_rules=1000))

    assert [0, 1000] == bed.captured
    assert 1000 == bed.placement.filler_rules


def test_documents_are_readable_and_say_what_was_seen() -> None:
    bed, proofs = proving()

    found = proofs.of(way(bed))
    documents = {**found, "nonces": nonces.collect({}, found["nonces"])}

    refused, answered = refusal.read(documents), canary.read(documents)
    assert ("denied", "server-remote", 0) == (refused.client, refused.target, refused.answer_bytes)
    assert {"connects_denied": 1, "connects_accepted": 0, "flagged_deny": 1} == refused.growth
    assert (1, 1) == (answered.asked, answered.right)
    assert CLOCKED == len(clock.read(documents).connections)
    assert CLOCKED == nonces.read(documents).control_hits


def test_the_load_is_asked_for_plaintext_to_a_host_and_for_the_canary() -> None:
    bed, proofs = proving()

    proofs.of(way(bed))

    (stamped, plain), (asked, bird) = bed.probed
    ((clocked,), (dialled,)) = plain["lanes"], bird["lanes"]
    assert ("clock", "outside", CLOCKED) == (
        stamped,
        clocked["target"]["pod"],
        clocked["states"][0]["count"],
    )
    assert ("canary", str(ADDRESS), PORT) == (asked, dialled["target"]["address"], dialled["target"]["port"])


@pytest.mark.parametrize(
    ("spec", "dataplane", "lacks", "expected"),
    [
        (SMOKE, "none", {}, {"canary": "data plane none has no proxy", "refusal": "data plane none has"}),
        (SMOKE, "envoy", {"refusal": "envoy enforces none"}, {"refusal": "envoy enforces none"}),
        (replace(SMOKE, policies=()), "pyztunnel", {}, {"refusal": "no policy"}),
    ],
)
def test_what_cannot_be_asked_is_written_down_with_its_reason(
    spec: TopologySpec, dataplane: str, lacks: dict[str, str], expected: dict[str, str]
) -> None:
    bed, proofs = proving(spec, **lacks)

    found = proofs.of(way(bed, dataplane=dataplane))

    said = {name: document["not_made"] for name, document in found.items() if "not_made" in document}
    assert expected.keys() == said.keys()
    assert all(said[name].startswith(reason) for name, reason in expected.items())


def test_without_a_host_nobody_can_be_sent_plaintext() -> None:
    bed, proofs = proving(replace(SMOKE, hosts=()))

    found = proofs.of(way(bed))

    assert "no host out of the mesh" in found["nonces"]["not_made"]
    assert "server-local" == bed.probed[0][1]["lanes"][0]["target"]["pod"]
