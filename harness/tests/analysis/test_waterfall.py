"""The first packet cut into phases: they add up, and what is not explained is said to be so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

from harness.analysis.findings import analyse
from harness.analysis.waterfall import (
    DIRECT,
    NEEDED,
    TUNNELLED,
    Owner,
    Waterfall,
    chain,
    durations,
    middle_half,
    reconciliation,
)
from harness.evidence.joined import Joined, join
from harness.evidence.model import CheckStatus
from harness.evidence.sources.journal import FIELDS
from harness.plan.model import Cell, Configuration, Interception, Path, SameNode, State
from harness.report.figures import waterfall as figure
from harness.report.limits import limits
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic
from harness.tests.evidence.walk import CONFIGURATIONS, honest

MESH = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)
SUITE = [
    "rounds=6",
    "matrix=[{path=['cross-node'], dataplane=['pyztunnel', 'none'], interception=['redirect']}]",
]


def first(state: State = State.COLD, configuration: Configuration = MESH) -> Joined:
    return next(each for each in join(honest(configuration)) if each.packet.state == state)


def moved(joined: Joined, side: str, *, by: int = 0, without: str = "") -> Joined:
    """One proxy's entry with all of its stamps moved, or with one of them gone."""
    entry = getattr(joined, side)
    stamps = {name: moment + by for name, moment in entry.stamps.items() if name != without}
    entry = replace(entry, stamps=stamps, accepted_ns=entry.accepted_ns + by)
    return replace(joined, **{side: entry})


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda configuration: configuration.key)
def test_phases_and_rest_add_up_to_the_clients_own_time(configuration: Configuration) -> None:
    case = honest(configuration)
    for joined in join(case):
        phases = chain(case, State(joined.packet.state))
        cut = durations(joined, phases)

        assert len(cut) == len(phases) + 1
        assert sum(cut) == joined.packet.first_byte_ns - joined.packet.start_ns
        assert cut[-1] == 0
        assert min(cut) >= 0


def test_a_stamp_that_is_missing_leaves_its_time_in_the_rest() -> None:
    joined = first()
    whole = durations(joined, TUNNELLED)
    at = [phase.step for phase in TUNNELLED].index("policy_ns")

    cut = durations(moved(joined, "destination", without="policy_ns"), TUNNELLED)

    assert cut[at] == cut[at + 1] == 0
    assert cut[-1] == whole[at] + whole[at + 1]
    assert sum(cut) == sum(whole)


@pytest.mark.parametrize("by", [-300_000, 300_000])
def test_a_proxy_on_another_clock_leaves_a_rest(by: int) -> None:
    joined = first()

    cut = durations(moved(joined, "destination", by=by), TUNNELLED)

    assert abs(cut[-1]) > 0.1 * sum(cut)


def test_the_wrong_record_of_the_other_proxy_leaves_a_rest() -> None:
    one, other = (each for each in join(honest(MESH))[:4] if each.packet.state == State.COLD)

    cut = durations(replace(one, destination=other.destination), TUNNELLED)

    assert abs(cut[-1]) > 0.1 * sum(cut)


def test_a_proxy_that_accepts_before_connect_returns_is_no_contradiction() -> None:
    joined = first(State.WARM)
    late = replace(joined, packet=replace(joined.packet, connected_ns=joined.packet.first_byte_ns))
    warm = [phase for phase in TUNNELLED if not phase.cold]

    cut = durations(late, warm)

    assert cut[1] == 0
    assert cut[-1] == 0


def test_warm_pays_for_no_handshake() -> None:
    owners = {phase.owner for phase in chain(honest(MESH), State.WARM)}

    assert Owner.TUNNEL not in owners
    assert Owner.TUNNEL in {phase.owner for phase in chain(honest(MESH), State.COLD)}


def test_each_kind_of_path_has_its_chain() -> None:
    def steps(**factors: Any) -> list[str]:
        return [phase.name for phase in chain(honest(replace(MESH, **factors)), State.NEW)]

    direct = honest(replace(MESH, dataplane="none", interception=Interception.NONE))
    assert chain(direct, State.NEW) == DIRECT
    assert "connect to the target" in steps(path=Path.OUT_OF_MESH)
    assert "route" not in steps(path=Path.INTO_MESH)
    assert "policy at the destination" in steps(path=Path.SAME_NODE, same_node=SameNode.PLAINTEXT)


def test_the_middle_half_leaves_the_tails_out() -> None:
    cuts = np.array([[1.0, value] for value in (50, 1, 2, 3, 4, 5, 6, 900)])

    assert sorted(middle_half(cuts)[:, 1]) == [2, 3, 4, 5, 6]


def _found(tmp_path: FilePath, spoil: Callable[[Cell, dict[str, Any]], None]) -> tuple[Waterfall, ...]:
    suite = load_suite("quick", SUITE)
    return analyse(read(synthetic.record(tmp_path, suite, spoil=spoil))).waterfalls


def test_a_run_is_cut_and_shown(tmp_path: FilePath) -> None:
    findings = analyse(read(synthetic.record(tmp_path, load_suite("quick", SUITE))))

    by_state = {each.state: each for each in findings.waterfalls}
    assert set(by_state) == {State.COLD, State.WARM, State.NEW}
    for each in by_state.values():
        assert each.joined == each.n >= NEEDED
        assert each.joined // 2 <= each.band <= each.joined // 2 + 2
        assert sum(share.mean_s for share in each.shares) + each.rest_s == pytest.approx(each.total_s)
        assert each.total_s == pytest.approx(each.median_s, rel=0.05)
        assert all(share.rounds.has_interval for share in each.shares)
    assert by_state[State.COLD].owned_s(Owner.TUNNEL) > 0 == by_state[State.WARM].owned_s(Owner.TUNNEL)
    assert [CheckStatus.VALID] == [
        check.status for check in findings.checks if check.name == "first-packets-add-up"
    ]
    (drawn,) = figure.figures(findings)
    assert drawn.question == "What does the first packet pay, and to whom, on the path cross-node?"
    assert "tunnel set-up" in drawn.reading
    claim = findings.claims[2]
    assert any("policy" in each and "tunnel and handshake" in each for each in claim.figures)


def test_without_journals_it_says_why_and_draws_nothing_of_them(tmp_path: FilePath) -> None:
    def spoil(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.configuration.dataplane != "none":
            evidence["journal"] = evidence["journal"] | {"proxies": {}, "unproven": ["a", "b"]}

    findings = analyse(read(synthetic.record(tmp_path, load_suite("quick", SUITE), spoil=spoil)))

    said = "keeps no times of single connections"
    assert [said in each.why_not for each in findings.waterfalls] == [
        each.configuration.dataplane != "none" for each in findings.waterfalls
    ]
    (drawn,) = figure.figures(findings)
    assert {row[0] for row in drawn.rows} == {"no mesh"}
    assert said in drawn.caption
    assert any(said in each for each in limits(findings))
    assert all(cell.usable for cell in findings.cells)


def test_a_rest_of_more_than_a_tenth_is_flagged(tmp_path: FilePath) -> None:
    """A stamp that a proxy does not set, in every connection."""

    def spoil(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.configuration.dataplane == "none":
            return
        proxies = {}
        for node, book in evidence["journal"]["proxies"].items():
            rows = [dict(zip(FIELDS, line.split(" "), strict=True)) for line in book["rows"]]
            for each in rows:
                each |= {"policy_ns": "-", "connect_ns": "-"}
            proxies[node] = book | {"rows": [" ".join(each[name] for name in FIELDS) for each in rows]}
        evidence["journal"] = evidence["journal"] | {"proxies": proxies}

    found = _found(tmp_path, spoil)

    check = reconciliation(found)
    assert check.status is CheckStatus.INVALID
    assert "of a first packet's time is in no phase" in check.reason
    assert all(each.rest_share > 0.1 for each in found if each.configuration.dataplane != "none")


def test_a_cell_whose_first_packets_are_not_found_enters_no_waterfall(tmp_path: FilePath) -> None:
    """Under 99.9 % its labels are not proven, so the cell is invalid, and nothing of it is drawn."""

    def spoil(_cell: Cell, evidence: dict[str, Any]) -> None:
        book = evidence["journal"]["proxies"]["a"]
        proxies = evidence["journal"]["proxies"] | {"a": book | {"rows": book["rows"][:-1]}}
        evidence["journal"] = evidence["journal"] | {"proxies": proxies}

    found = _found(tmp_path, spoil)

    assert {each.why_not for each in found if each.configuration.dataplane != "none"} == {"no valid cell"}
