"""The analysis finds the truth that recorded runs were made from, and uses nothing that it may not."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.answer import Answer
from harness.analysis.compare import Bound, Comparison, Word
from harness.analysis.findings import Findings, analyse
from harness.evidence.model import CellStatus, CheckStatus
from harness.evidence.sources import known as known_sources
from harness.plan.model import Cell, Configuration, Interception
from harness.report.figures import all_figures
from harness.results import layout
from harness.results.read import read
from harness.results.schema import RunStatus
from harness.suite import Suite, load_suite
from harness.tests import synthetic

EIGHT_ROUNDS = ["rounds=8", "most_rounds=8"]
"""As many as the quick suite measures at least, and two more; and no look before the last."""


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("quick", EIGHT_ROUNDS, dataplanes=("none", "pyztunnel"))


@pytest.fixture(scope="module")
def across() -> Suite:
    """What `suite` measures across nodes, for tests that record a run of their own."""
    only = [f"matrix[{number}].path=['cross-node']" for number in range(3)]
    return load_suite("quick", [*EIGHT_ROUNDS, *only], dataplanes=("none", "pyztunnel"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    return synthetic.record(tmp_path_factory.mktemp("results"), suite, noise=0.004)


@pytest.fixture(scope="module")
def findings(original: Path) -> Findings:
    return analyse(read(original))


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


def of(findings: Findings, factor: str, metric: str, path: str = "cross-node") -> Comparison:
    found = [*findings.first_packet, *findings.factors]
    return next(
        each
        for each in found
        if (each.factor, each.of.metric, each.path) == (factor, metric, path)
        and each.of.configuration.startswith(findings.default.key.rsplit(".", 2)[0])
    )


def test_medians_are_those_of_the_truth(findings: Findings) -> None:
    for configuration in findings.configurations:
        for metric, expected in synthetic.truth(configuration).items():
            measure = findings.measure(configuration, metric)
            if measure is not None and measure.estimate is not None:
                assert measure.estimate.centre == pytest.approx(expected, rel=0.25), (
                    configuration.key,
                    metric,
                )


def test_states_that_do_not_exist_are_not_measured(findings: Findings) -> None:
    for configuration in findings.configurations:
        for state, metric in (("cold", "first.cold"), ("warm", "first.warm"), ("new", "first.new")):
            exists = state in {each.value for each in configuration.states}
            assert (findings.measure(configuration, metric) is not None) == exists


def test_ratios_are_those_of_the_truth(findings: Findings) -> None:
    for each in [*findings.first_packet, *findings.factors]:
        configurations = {found.key: found for found in findings.configurations}
        expected = (
            synthetic.truth(configurations[each.of.configuration])[each.of.metric]
            / synthetic.truth(configurations[each.against.configuration])[each.against.metric]
        )
        assert each.ratio is not None
        assert each.ratio.rounds == 8
        assert each.ratio.centre == pytest.approx(expected, rel=0.08), each.label


@pytest.mark.parametrize(
    ("factor", "metric", "word"),
    [
        ("first-packet", "first.cold", Word.COSTS),
        ("first-packet", "first.warm", Word.COSTS),
        ("mesh", "steady", Word.COSTS),
        ("mesh", "requests", Word.COSTS),
        ("reuse", "first.warm", Word.SAVES),
    ],
)
def test_large_effects_are_found(findings: Findings, factor: str, metric: str, word: Word) -> None:
    assert of(findings, factor, metric).word is word


def test_conntrack_of_one_microsecond_is_no_difference_that_matters(findings: Findings) -> None:
    found = [e for e in findings.factors if e.factor == "conntrack" and e.of.metric == "requests"]

    assert {each.path for each in found} == {"same-node", "cross-node", "out-of-mesh"}
    assert {each.word for each in found} == {Word.NO_DIFFERENCE}


def test_equal_configurations_are_equal(findings: Findings) -> None:
    assert findings.control.check.status is CheckStatus.VALID
    assert {each.path for each in findings.control.comparisons} == {"same-node", "cross-node", "out-of-mesh"}
    assert max(findings.control.noise.values()) < 1.05


def test_cold_agrees_with_and_without_reuse(findings: Findings) -> None:
    agreements = [check for check in findings.checks if check.name.startswith("cold-agreement")]

    assert len(agreements) == 2
    assert {check.status for check in agreements} == {CheckStatus.VALID}


def test_cold_that_disagrees_is_found(tmp_path: Path, across: Suite) -> None:
    def truth(configuration: Configuration) -> dict[str, float]:
        medians = synthetic.truth(configuration)
        if configuration.reuse.value == "on":
            medians["first.cold"] *= 0.6
        return medians

    found = analyse(read(synthetic.record(tmp_path, across, truth=truth)))

    agreements = [check for check in found.checks if check.name.startswith("cold-agreement")]
    assert {check.status for check in agreements} == {CheckStatus.INVALID}


def test_document_is_json_and_complete(findings: Findings) -> None:
    document = json.loads(json.dumps(findings.document(), allow_nan=False))

    assert document["schema_version"] == 1
    assert document["cells"] == {
        "planned": 144,
        "measured": 144,
        "valid": 144,
        "invalid": 0,
        "unknown": 0,
        "noisy": 0,
        "disturbed": 0,
        "limited": 0,
    }
    assert document["control"]["noise_percent"]
    assert set(document["factors"]) == {"mesh", "conntrack", "reuse", "interception"}
    for comparisons in document["factors"].values():
        assert all(each["ratio"]["low"] and each["verdict"] for each in comparisons)
    assert len(document["claims"]) == 12


def test_timing_gives_the_costs_that_a_plan_predicts_with(findings: Findings) -> None:
    costs = findings.timing["costs"]

    assert costs["restart_s"] == pytest.approx(0.3)
    assert costs["switch_s"] == pytest.approx(0.1)
    assert costs["stage_s"] == pytest.approx(0.01)
    assert costs["evidence_s"] == pytest.approx(0.06, abs=0.001)
    assert costs["probe_cold_s"] > costs["probe_warm_s"] > 0
    assert findings.timing["measured_all"]


def _spoiled(cell: Cell, evidence: dict[str, Any]) -> None:
    """A rule that counted nothing, in three rounds of tproxy across nodes."""
    if cell.configuration.key == "cross-node.pyztunnel.tproxy.reuse-on" and cell.round in {2, 5, 7}:
        rules = json.loads(json.dumps(evidence["rules"]))
        client = f"pod-{cell.lane}-client"
        rules["after"][client]["rules"] = rules["before"][client]["rules"]
        evidence["rules"] = rules


def test_invalid_cells_enter_nothing(tmp_path: Path, across: Suite) -> None:
    found = analyse(read(synthetic.record(tmp_path, across, spoil=_spoiled)))

    assert found.invalid
    assert found.counts()["invalid"] == 3
    reasons = [cell.reasons for cell in found.cells if cell.verdict.status is CellStatus.INVALID]
    assert all("interception" in reason[0] for reason in reasons)
    spoiled = next(
        each
        for each in found.factors
        if each.factor == "conntrack" and each.path == "cross-node" and each.of.metric == "steady"
    )
    assert sorted(spoiled.per_round) == [1, 3, 4, 6, 8]
    assert spoiled.word is Word.OPEN
    assert spoiled.because == "5 of the 6 rounds that an interval needs"


def test_deleting_any_evidence_file_turns_its_cell_unknown(run: Path) -> None:
    cells = sorted((run / layout.CELLS).iterdir())
    sources = sorted(path.name for path in (cells[0] / layout.EVIDENCE).iterdir())
    victims = dict(zip(sources, cells, strict=False))
    for source, cell in victims.items():
        (cell / layout.EVIDENCE / source).unlink()

    found = analyse(read(run))

    unknown = {
        each.stored.folder.name: each for each in found.cells if each.verdict.status is CellStatus.UNKNOWN
    }
    assert sources == [f"{name}.json" for name in sorted(known_sources())]
    assert set(unknown) == {cell.name for cell in victims.values()}
    for source, cell in victims.items():
        assert f"integrity: evidence/{source} is missing" in unknown[cell.name].reasons
        assert not unknown[cell.name].usable
    assert not found.invalid


def test_altered_samples_turn_their_cell_unknown(run: Path) -> None:
    victim = sorted((run / layout.CELLS).iterdir())[5] / "rate.parquet"
    victim.write_bytes(victim.read_bytes()[:-40])

    found = analyse(read(run))

    assert found.counts()["unknown"] == 1


def test_a_limited_generator_gives_a_bound(tmp_path: Path, across: Suite) -> None:
    def busy(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.configuration.dataplane == "none":
            generator = json.loads(json.dumps(evidence["generator"]))
            generator["stages"]["requests"]["cpu_ns"] = generator["stages"]["requests"]["elapsed_ns"]
            evidence["generator"] = generator

    found = analyse(read(synthetic.record(tmp_path, across, spoil=busy)))

    none = next(each for each in found.configurations if each.dataplane == "none")
    requests = found.measure(none, "requests")
    assert requests is not None
    assert "the generator used 100% of a core" in requests.at_least
    against_none = [e for e in found.factors if e.factor == "mesh" and e.of.metric == "requests"]
    assert against_none
    assert {(each.bound, each.word) for each in against_none} == {(Bound.AT_MOST, Word.COSTS)}
    told = "the generator used 100% of a core, more than 90%: a bound, and the true ratio is farther from 1"
    assert all(told in each.because for each in against_none)
    others = [e for e in found.factors if e.factor == "mesh" and e.of.metric == "steady"]
    assert all(each.ratio is not None and not each.bound for each in others)


def test_a_partial_run_is_analysed_as_far_as_it_goes(tmp_path: Path, suite: Suite) -> None:
    found = analyse(read(synthetic.record(tmp_path, suite, cells=40, status=RunStatus.ABORTED)))

    assert found.counts()["measured"] == 40
    assert not found.timing["measured_all"]
    assert all(each.word is Word.OPEN for each in found.factors)
    assert all(
        "2 of the 6" in each.because or "3 of the 6" in each.because for each in found.factors if each.ratio
    )


def test_one_round_claims_nothing(tmp_path: Path) -> None:
    smoke = load_suite("smoke", dataplanes=("none", "pyztunnel"))

    found = analyse(read(synthetic.record(tmp_path, smoke)))

    assert found.counts()["valid"] == 7
    assert all(each.word is Word.OPEN for each in [*found.first_packet, *found.factors])
    few = found.measure(found.default, "first.cold")
    assert few is not None
    assert few.n == 5
    assert few.shown is None


def test_answers_carry_figures(findings: Findings) -> None:
    answers: dict[str, Answer] = {each.question: each for each in findings.answer}

    first = answers["What does the first packet cost?"]
    assert first.verdicts == ("costs",)
    assert "on cross-node: first packet, cold" in first.sentence
    assert answers["Does conntrack cost or save?"].verdicts[0] == "no difference"
    assert all(line.ratio for each in answers.values() for line in each.lines)


def test_claims_of_an_honest_run(findings: Findings) -> None:
    verdicts = {claim.number: str(claim.verdict) for claim in findings.claims}

    assert verdicts == {
        1: "holds",
        2: "holds",
        3: "holds",
        4: "holds if",
        5: "holds if",
        6: "holds",
        7: "holds if",
        8: "holds",
        9: "holds if",
        10: "holds",
        11: "not measured in this run",
        12: "not measured in this run",
    }
    assert all(claim.figures for claim in findings.claims[:9])


def test_claims_without_data_say_so(tmp_path: Path) -> None:
    direct = load_suite(
        "smoke", ["matrix=[{path=['cross-node'], dataplane=['none']}]"], dataplanes=("none", "pyztunnel")
    )

    found = analyse(read(synthetic.record(tmp_path, direct)))

    assert {str(claim.verdict) for claim in found.claims} == {"not measured in this run"}


def test_break_even_is_found_where_the_lines_cross(tmp_path: Path) -> None:
    """Redirect is flat at 20 us above tproxy-notrack, which climbs 16 ns a rule: they cross at 1,250."""
    levels = "at={interception=['redirect', 'tproxy', 'tproxy-notrack']}"
    only = [
        "matrix=[{path=['cross-node'], dataplane=['none']}]",
        f"vary=[{{factor='filler_rules', values=[0, 1000, 10000], {levels}}}]",
    ]
    rounds = ["rounds=6", "most_rounds=6"]
    full = load_suite("full", [*rounds, *only], dataplanes=("none", "pyztunnel"))

    def truth(configuration: Configuration) -> dict[str, float]:
        medians = synthetic.truth(configuration)
        if configuration.interception is Interception.REDIRECT:
            medians["steady"] += 20e-6
        return medians

    found = analyse(read(synthetic.record(tmp_path, full, truth=truth, noise=0.001)))

    assert found.break_even is not None
    crossing = next(each for each in found.break_even.crossings if each.against == "tproxy-notrack")
    assert crossing.between == (1000, 10000)
    assert crossing.rules == pytest.approx(1250, rel=0.5)
    assert crossing.low is not None
    assert crossing.high is not None
    assert crossing.low <= 1250 <= crossing.high
    slope = found.break_even.per_rule_s["tproxy-notrack"].centre
    assert math.isclose(slope, 16e-9, rel_tol=0.15)
    assert "redirect overtakes tproxy-notrack at" in found.break_even.sentence
    assert {"filler-rules", "kernel-rules"} <= {figure.name for figure in all_figures(found)}
