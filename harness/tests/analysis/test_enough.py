"""When a run has measured enough: every question answered, or intervals as narrow as asked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.answer import Answer
from harness.analysis.compare import Word
from harness.analysis.enough import answered, narrow
from harness.analysis.findings import Findings, analyse
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    suite = load_suite("quick", ["rounds=8", "most_rounds=8"], dataplanes=("none", "pyztunnel"))
    return analyse(read(synthetic.record(tmp_path_factory.mktemp("results"), suite, noise=0.004)))


def _settled(answer: Answer) -> Answer:
    lines = tuple(replace(line, verdict=Word.COSTS.value) for line in answer.lines)
    return replace(answer, lines=lines)


def test_every_question_has_to_have_a_verdict(findings: Findings) -> None:
    assert findings.answer
    settled = replace(findings, answer=tuple(map(_settled, findings.answer)))
    first, *others = settled.answer
    lines = (replace(first.lines[0], verdict=Word.OPEN.value), *first.lines[1:])
    one_open = replace(settled, answer=(replace(first, lines=lines), *others))

    assert answered(settled) == "every question has a verdict after 8 rounds"
    assert answered(one_open) == ""


def test_what_asks_nothing_is_never_answered(findings: Findings) -> None:
    assert answered(replace(findings, answer=())) == ""


def test_more_rounds_make_the_first_packets_narrower(tmp_path: Path) -> None:
    def enough(rounds: int, width: float) -> str:
        suite = load_suite("smoke", [f"rounds={rounds}", "load.first_packet.probes=20"])
        run = synthetic.record(tmp_path / str(rounds), suite, noise=0.05)
        found = narrow(analyse(read(run)), width)
        shutil.rmtree(run)
        return found

    assert enough(5, 1.0) == ""
    assert enough(6, 0.03) == ""
    assert enough(6, 1.0).endswith("to a side after 6 rounds")
    assert enough(40, 0.03).endswith("to a side after 40 rounds")
