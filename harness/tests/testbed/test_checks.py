"""What a machine lacks: each in a line that says what was found and what to do."""

from __future__ import annotations

import pytest

from harness.engines import choice
from harness.engines.choice import Choice
from harness.errors import EnvironmentUnfit
from harness.testbed import checks, trial
from harness.testbed.checks import Check, Status
from harness.testbed.lock import Busy, MeasuringLock
from harness.testbed.requirements import REQUIREMENTS
from harness.testbed.trial import Result

GOOD = {each.name: Result(error=None, found="works") for each in REQUIREMENTS}


@pytest.fixture
def netns() -> Choice:
    """The netns engine, chosen."""
    return Choice(name="netns", module=choice.named("netns"), reason="asked for")


def _tried(monkeypatch: pytest.MonkeyPatch, **errors: str) -> None:
    """Let the trial end like this."""
    results = GOOD | {name: Result(error=error) for name, error in errors.items()}
    monkeypatch.setattr(trial, "results", lambda _: results)


def _rows(chosen: Choice) -> dict[str, Check]:
    return {row.name: row for row in checks.checks(chosen)}


def test_a_feature_that_does_not_work_fails_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, netns: Choice
) -> None:
    """F27: without TPROXY a testbed is refused; nothing is measured with another interception instead."""
    _tried(monkeypatch, tproxy="No chain/target/match by that name")

    rows = _rows(netns)

    assert (rows["tproxy"].status, rows["links"].status) == (Status.FAILED, Status.OK)
    assert "No chain" in rows["tproxy"].found
    assert "xt_TPROXY" in rows["tproxy"].fix


@pytest.mark.parametrize(
    ("name", "instead", "fix"),
    [
        ("netem", "a process delays packets", "sch_netem"),
        ("IPv6", "topology.ip_families", "ipv6.disable=1"),
    ],
)
def test_what_is_needed_sometimes_is_a_warning_that_says_what_is_done_instead(
    name: str, instead: str, fix: str, monkeypatch: pytest.MonkeyPatch, netns: Choice
) -> None:
    """F26: never a silent run without the delay. IPv4 suites need no IPv6."""
    _tried(monkeypatch, **{name: "no such thing"})

    row = _rows(netns)[name]

    assert row.status is Status.WARNING
    assert "no such thing; " in row.found
    assert instead in row.found
    assert fix in row.fix


def test_what_could_not_be_tried_is_neither_well_nor_wrong(
    monkeypatch: pytest.MonkeyPatch, netns: Choice
) -> None:
    monkeypatch.setattr(trial, "results", lambda _: {trial.START: Result(error="no answer")})

    rows = _rows(netns)

    assert (Status.FAILED, "no answer") == (rows[trial.START].status, rows[trial.START].found)
    assert (Status.SKIPPED, "not tried: see members") == (rows["links"].status, rows["links"].found)


def test_images_matter_to_the_engine_that_has_them(monkeypatch: pytest.MonkeyPatch, netns: Choice) -> None:
    _tried(monkeypatch)

    assert "images" not in _rows(netns)
    assert "images" in _rows(Choice(name="docker", module=netns.module, reason=""))


def test_a_preflight_that_fails_has_one_line_per_row(monkeypatch: pytest.MonkeyPatch, netns: Choice) -> None:
    monkeypatch.setattr(choice, "choose", lambda _: netns)
    rows = [
        Check(name="one", status=Status.FAILED, found="broken", fix="mend it"),
        Check(name="two", status=Status.WARNING, found="so so"),
        Check(name="three", status=Status.FAILED, found="gone", fix="bring it back"),
    ]
    monkeypatch.setattr(checks, "checks", lambda _: rows)

    with pytest.raises(EnvironmentUnfit) as refused:
        checks.preflight("")

    assert str(refused.value).splitlines()[1:] == ["  one: broken; mend it", "  three: gone; bring it back"]


def test_nothing_is_tried_beside_a_run_that_measures(monkeypatch: pytest.MonkeyPatch, netns: Choice) -> None:
    """It would take both cores for two seconds."""
    monkeypatch.setattr(choice, "choose", lambda _: netns)
    monkeypatch.setattr(trial, "results", lambda _: pytest.fail("tried all the same"))

    with MeasuringLock():
        with pytest.raises(Busy, match="another run is measuring"):
            checks.preflight("")
        rows = {row.name: row for row in checks.diagnosis("")}

    assert Status.SKIPPED is rows["needed"].status
    assert "not tried: another run is measuring" in rows["needed"].found
    assert "leftovers" in rows


@pytest.mark.netns
def test_here_every_row_is_in_order(netns: Choice) -> None:
    rows = checks.checks(netns)

    assert [row for row in rows if row.status is Status.FAILED] == []
    assert [row for row in rows if row.status is Status.SKIPPED] == []
