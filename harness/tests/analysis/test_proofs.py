"""What rounds proved, told from their cells' evidence, and a listener held against its own control."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.findings import Findings, analyse
from harness.analysis.proofs import NonceFigures, Proofs, nonces_by_round
from harness.evidence.model import CheckStatus
from harness.plan.model import Cell
from harness.report import tables
from harness.results.read import read
from harness.suite import Suite, load_suite
from harness.tests import synthetic

ROUNDS = 7


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("smoke", [f"rounds={ROUNDS}"], dataplanes=("none", "pyztunnel"))


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Findings:
    return analyse(read(synthetic.record(tmp_path_factory.mktemp("results"), suite)))


def _figures(tunnel: tuple[int, int], plain: tuple[int, int]) -> NonceFigures:
    return NonceFigures(
        control_hits=30,
        tunnel_hits=tunnel[0],
        tunnel_frames=tunnel[1],
        plain_hits=plain[0],
        plain_frames=plain[1],
    )


def _round(number: int, tunnel: tuple[int, int], plain: tuple[int, int], dataplane: str = "p") -> Proofs:
    return Proofs(
        dataplane=dataplane,
        round=number,
        rounds=1,
        refused=1,
        refusals=1,
        answered=1,
        canaries=1,
        nonces=_figures(tunnel, plain),
        clock=None,
    )


def test_each_data_plane_tells_all_rounds_and_each(findings: Findings) -> None:
    found = [(each.dataplane, each.round, each.rounds) for each in findings.proofs]

    expected = [
        (dataplane, number, 1 if number else ROUNDS)
        for dataplane in ("none", "pyztunnel")
        for number in range(ROUNDS + 1)
    ]
    assert expected == found


def test_what_was_proved_is_counted_once_a_round(findings: Findings) -> None:
    none, mesh = (each for each in findings.proofs if not each.round)

    assert (0, 0, 0, 0) == (none.refused, none.refusals, none.answered, none.canaries)
    assert (ROUNDS, ROUNDS, ROUNDS, ROUNDS) == (mesh.refused, mesh.refusals, mesh.answered, mesh.canaries)
    assert 30 * ROUNDS == mesh.nonces.control_hits
    assert 0 == mesh.nonces.tunnel_hits < mesh.nonces.tunnel_frames
    assert mesh.clock is not None
    assert 30 * ROUNDS == mesh.clock.n


def test_a_percentile_of_the_clocks_needs_samples_enough(findings: Findings) -> None:
    together, one, *_ = (each.clock for each in findings.proofs if each.dataplane == "pyztunnel")

    assert together is not None
    assert one is not None
    assert together.apart_p90 is not None
    assert one.apart_p90 is None
    assert abs(together.apart_p50) <= together.apart_p90 < 20_000


def test_evidence_of_a_proof_that_is_gone_is_in_no_figure(tmp_path: Path, suite: Suite) -> None:
    def forget(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.round == 1:
            for source in ("clock", "nonces", "canary", "refusal"):
                evidence.pop(source)

    found = analyse(read(synthetic.record(tmp_path, suite, spoil=forget)))

    mesh = next(each for each in found.proofs if (each.dataplane, each.round) == ("pyztunnel", 1))
    assert (0, 0, None) == (mesh.refusals, mesh.canaries, mesh.clock)
    assert {0} == set(mesh.document()["nonces"].values())
    assert found.counts()["unknown"] == len(suite.configurations)


def test_a_policy_that_failed_in_one_round_is_seen_in_the_figures(tmp_path: Path, suite: Suite) -> None:
    def let_through(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.round == 2 and cell.configuration.dataplane != "none":
            evidence["refusal"] = copy.deepcopy(evidence["refusal"]) | {"answer_bytes": 300}

    found = analyse(read(synthetic.record(tmp_path, suite, spoil=let_through)))

    mesh = [each.refused for each in found.proofs if each.dataplane == "pyztunnel"]
    assert [ROUNDS - 1, 1, 0, *[1] * (ROUNDS - 2)] == mesh
    assert found.counts()["invalid"] == len(suite.configurations) - 1


@pytest.mark.parametrize(
    ("rounds", "status"),
    [
        ([_round(1, (0, 80), (20, 20)), _round(2, (0, 80), (20, 20))], CheckStatus.VALID),
        ([_round(1, (0, 80), (0, 0)), _round(1, (0, 0), (9, 20), "none")], CheckStatus.VALID),
        ([_round(1, (0, 80), (20, 20)), _round(2, (0, 80), (0, 20))], CheckStatus.INVALID),
        ([_round(1, (0, 80), (20, 20)), _round(2, (1, 80), (20, 20))], CheckStatus.INVALID),
        ([_round(1, (0, 80), (0, 0))], CheckStatus.NOT_APPLICABLE),
        ([_round(1, (0, 0), (20, 20))], CheckStatus.NOT_APPLICABLE),
        ([], CheckStatus.NOT_APPLICABLE),
    ],
)
def test_plaintext_has_to_be_readable_in_every_round_and_tunnels_in_none(
    rounds: list[Proofs], status: CheckStatus
) -> None:
    found = nonces_by_round(rounds)

    assert status is found.status
    assert found.numbers.keys() == {"tunnel_frames", "tunnel_hits", "plain_frames", "plain_hits"}


def test_both_tables_have_a_row_for_what_they_show(findings: Findings) -> None:
    together, by_round = (tables.proofs(findings, rounds=rounds) for rounds in (False, True))

    assert [2, 2 * ROUNDS] == [len(together.rows), len(by_round.rows)]
    assert {len(together.columns)} == {len(row) for table in (together, by_round) for row in table.rows}
