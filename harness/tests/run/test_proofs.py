"""What is proved once a round: how often, by whom, and what is written down where it cannot be."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.control import Reply
from harness.evidence.sources import canary, clock, nonces, refusal
from harness.plan.model import Cell, Configuration, Interception, Path
from harness.run.proofs import CLOCKED, Proofs
from harness.suite import load_suite
from harness.topology.allocator import resolve
from harness.topology.canary import ADDRESS, PORT
from harness.topology.model import Topology, TopologySpec

if TYPE_CHECKING:
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
    """A testbed in which all goes as it should; a refusal is counted a moment after it was seen."""

    topology: Topology
    lacks: Mapping[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    probed: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    attempts: list[Mapping[str, object]] = field(default_factory=list)
    looks: int = 0

    def agent(self, _node: str) -> Member:
        return Member(self)

    proxy = agent

    def ask_agents(self, op: str, **arguments: object) -> dict[str, Reply]:
        return {node: Reply(document=self.answer(op, arguments)) for node in "ab"}

    ask_proxies = ask_agents

    def put(self, what: str, arguments: dict[str, Any], client: str) -> Reply:
        self.probed.append((what, arguments, client))
        count = arguments["states"][0]["count"]
        rows = [row for port in range(count) for row in (port, 0, 2, 0, 0, 30, 35, 60, 61, 40_000 + port, 1)]
        verification = {"checked": count, "wrong_pod": 0}
        document = {"nonces": "0f0f", "verification": verification, "errors": {}}
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
                return {"frames": CLOCKED, "hits": CLOCKED, "unkept": 0}
            case "attempt":
                self.attempts.append(arguments)
                return {"connected": True, "answer_bytes": 0, "ended": "ECONNRESET"}
            case "stats":
                self.looks += bool(self.attempts)
                denied = int(self.looks > 2)
                streams = sum(what == "canary" for what, _, _ in self.probed)
                counts = {"connects_denied": denied, "flagged_deny": denied, "connects_accepted": 7}
                return {**counts, "streams_opened": streams}
        return {}


def proving(spec: TopologySpec = SMOKE, **lacks: str) -> tuple[Bed, Proofs]:
    bed = Bed(topology=resolve(spec), lacks=lacks)
    return bed, Proofs(cast("Testbed", bed), bed.put)


def a_cell(index: int = 0, *, round_: int = 1, dataplane: str = "pyztunnel") -> Cell:
    level = Interception.NONE if dataplane == "none" else Interception.REDIRECT
    configuration = Configuration(path=Path.CROSS_NODE, dataplane=dataplane, interception=level)
    return Cell(index=index, round=round_, configuration=configuration)


def test_a_round_is_proved_once_for_each_data_plane() -> None:
    bed, proofs = proving()

    fresh = [
        proofs.of(cell)[1]
        for cell in (
            a_cell(0),
            a_cell(1),
            a_cell(2, dataplane="none"),
            a_cell(3),
            a_cell(4, dataplane="none"),
            a_cell(5, round_=2),
        )
    ]

    assert [True, False, True, False, False, True] == fresh
    assert 2 == len(bed.attempts)


def test_a_round_s_first_cell_is_known_before_anything_is_proved() -> None:
    _, proofs = proving()

    assert proofs.due(a_cell())
    proofs.of(a_cell())
    assert not proofs.due(a_cell(1))
    assert proofs.due(a_cell(2, dataplane="none"))
    assert proofs.due(a_cell(3, round_=2))


def test_cells_of_a_round_tell_where_it_was_proved() -> None:
    _, proofs = proving()
    first = a_cell(4)

    made = proofs.of(first)[0]
    told = proofs.of(a_cell(9))[0]

    assert made == told
    assert {first.name} == {document["cell"] for document in told.values()}


def test_what_is_forgotten_is_proved_again() -> None:
    _, proofs = proving()
    proofs.of(a_cell())

    proofs.forget()

    assert proofs.of(a_cell())[1]


def test_documents_are_readable_and_say_what_was_seen() -> None:
    _, proofs = proving()

    found, _ = proofs.of(a_cell())
    documents = {**found, "nonces": nonces.collect({}, found["nonces"])}

    refused, answered = refusal.read(documents), canary.read(documents)
    assert ("denied", "server-remote", 0) == (refused.client, refused.target, refused.answer_bytes)
    assert {"connects_denied": 1, "connects_accepted": 0, "flagged_deny": 1} == refused.growth
    assert (1, 1) == (answered.asked, answered.right)
    assert CLOCKED == len(clock.read(documents).connections)
    assert CLOCKED == nonces.read(documents).control_hits


def test_the_load_is_asked_for_plaintext_to_a_host_and_for_the_canary() -> None:
    bed, proofs = proving()

    proofs.of(a_cell())

    (stamped, plain, _), (asked, bird, _) = bed.probed
    assert ("clock", "outside", CLOCKED) == (
        stamped,
        plain["target"]["pod"],
        plain["states"][0]["count"],
    )
    assert ("canary", str(ADDRESS), PORT) == (asked, bird["target"]["address"], bird["target"]["port"])


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
    _, proofs = proving(spec, **lacks)

    found, _ = proofs.of(a_cell(dataplane=dataplane))

    said = {name: document["not_made"] for name, document in found.items() if "not_made" in document}
    assert expected.keys() == said.keys()
    assert all(said[name].startswith(reason) for name, reason in expected.items())


def test_without_a_host_nobody_can_be_sent_plaintext() -> None:
    bed, proofs = proving(replace(SMOKE, hosts=()))

    found, _ = proofs.of(a_cell())

    assert "no host out of the mesh" in found["nonces"]["not_made"]
    assert "server-local" == bed.probed[0][1]["target"]["pod"]
