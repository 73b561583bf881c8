"""The sabotages: each found for real, and what counts as found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness import cli
from harness.agent.capture import APPLIERS
from harness.agent.probe import APPLIER_ENV
from harness.errors import ExitCode
from harness.evidence import checks
from harness.evidence.model import RemarkKind
from harness.selftest import sabotages
from harness.selftest.trial import ENDED, Fired, Outcome

WANTED = sabotages.known()["rules-removed"]
RIGHT = Fired(name=WANTED.fires, reason=f"pod-1-client {WANTED.because} is 0")


def outcome(*fired: Fired, honest: tuple[Fired, ...] = ()) -> Outcome:
    return Outcome(sabotage=WANTED, fired=fired, honest=honest)


@pytest.mark.parametrize(
    ("found", "caught"),
    [
        (outcome(), False),
        (outcome(RIGHT), True),
        (outcome(Fired(name="wire-split", reason="x"), RIGHT), True),
        (outcome(replace(RIGHT, name="wire-split")), False),
        (outcome(replace(RIGHT, reason="another")), False),
        (outcome(RIGHT, honest=(RIGHT,)), False),
        (outcome(RIGHT, honest=(Fired(name="samples", reason="x"),)), False),
        (outcome(RIGHT, honest=(Fired(name="noisy", reason="stolen"),)), True),
    ],
)
def test_only_the_right_check_for_the_right_reason_counts(found: Outcome, caught: bool) -> None:
    assert caught == found.caught


def test_every_sabotage_names_a_check_that_there_is() -> None:
    known = {*checks.known(), *RemarkKind, ENDED}

    assert {each.fires for each in sabotages.known().values()} <= known


def test_an_unknown_sabotage_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.obey(["selftest", "--only", "nosuch"])

    assert code == ExitCode.USAGE
    assert "nosuch" in capsys.readouterr().err


@pytest.mark.netns
@pytest.mark.parametrize("applier", APPLIERS)
def test_rules_are_sabotaged_by_the_applier_in_force(
    applier: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """D20: a rule taken out of the legacy tables harms nobody whose rules are nft's."""
    monkeypatch.setenv(APPLIER_ENV, applier)
    code = cli.obey(["selftest", "--json", "--only", "rules-removed", "--only", "proxy-bypassed"])

    printed = json.loads(capsys.readouterr().out)
    assert [("proxy-bypassed", True), ("rules-removed", True)] == [
        (each["sabotage"], each["caught"]) for each in printed["sabotages"]
    ]
    assert code == ExitCode.OK


@pytest.mark.netns
def test_every_sabotage_is_caught_for_the_right_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """F77, M04 to M06, M08, M13, M14, M17, M28, M32, C1, C5, T70: each check seen to fail on a real cell."""
    code = cli.obey(["selftest", "--json"])

    printed = json.loads(capsys.readouterr().out)
    missed = {each["sabotage"]: each for each in printed["sabotages"] if not each["caught"]}
    assert missed == {}
    assert len(sabotages.known()) == printed["of"] == printed["caught"]
    assert code == ExitCode.OK
