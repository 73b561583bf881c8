"""What a machine lacks: each in a line that says what was found and what to do."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable

import pytest

from harness.engines import choice
from harness.engines.choice import Choice
from harness.errors import EnvironmentUnfit
from harness.testbed import checks
from harness.testbed.checks import Check, Status


@pytest.fixture
def netns() -> Choice:
    """The netns engine, chosen."""
    return Choice(name="netns", module=choice.named("netns"), reason="asked for")


def _features(monkeypatch: pytest.MonkeyPatch, results: dict[str, str | None]) -> None:
    """Let the throwaway namespace report this."""
    monkeypatch.setattr(choice, "named", lambda _: _Fit())
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/usr/sbin/{name}")
    done = subprocess.CompletedProcess([], 0, json.dumps(results), "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)


class _Fit:
    def unfit(self) -> str | None:
        return None


def test_a_feature_that_does_not_work_fails_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, netns: Choice
) -> None:
    """F27: without TPROXY a testbed is refused; nothing is measured with another interception instead."""
    _features(monkeypatch, {"TPROXY": "No chain/target/match by that name", "links": None})

    tproxy, links = checks._features(netns)

    assert (tproxy.status, links.status) == (Status.FAILED, Status.OK)
    assert "No chain" in tproxy.found
    assert "xt_TPROXY" in tproxy.fix


def test_without_netem_there_is_a_warning_that_says_what_is_taken_instead(
    monkeypatch: pytest.MonkeyPatch, netns: Choice
) -> None:
    """F26: never a silent run without the delay."""
    _features(monkeypatch, {"netem": "queueing discipline netem: (2, 'No such file or directory')"})

    (row,) = checks._features(netns)

    assert row.status is Status.WARNING
    assert "a process delays packets" in row.found
    assert "sch_netem" in row.fix


def test_without_legacy_iptables_there_is_a_warning_only(
    monkeypatch: pytest.MonkeyPatch, netns: Choice
) -> None:
    _features(monkeypatch, {"iptables legacy": "no such table"})

    (row,) = checks._features(netns)

    assert row.status is Status.WARNING
    assert "iptables-restore" in row.found


def test_without_ipv6_there_is_a_warning_only(monkeypatch: pytest.MonkeyPatch, netns: Choice) -> None:
    """IPv4 suites need none of it."""
    _features(monkeypatch, {"IPv6": "/proc/sys/net/ipv6/conf/all/disable_ipv6: No such file or directory"})

    (row,) = checks._features(netns)

    assert row.status is Status.WARNING
    assert "topology.ip_families" in row.found
    assert "ipv6.disable=1" in row.fix


def test_every_feature_that_is_tried_has_a_fix_of_its_own() -> None:
    from harness.testbed import features  # noqa: PLC0415  # a program of its own

    assert set(features.attempts()) - {"iptables legacy", "IPv6", "netem"} == set(checks.FIXES)


@pytest.mark.parametrize(
    ("lacking", "name"),
    [
        (lambda m: m.setattr(resource, "getrlimit", lambda _: (64, 64)), "open files"),
        (lambda m: m.setattr(checks, "MODULES", ("no_such_module",)), "python packages"),
        (lambda m: m.setattr(shutil, "which", lambda *_, **__: None), "nginx"),
        (lambda m: m.setattr(checks, "DISK_RESULTS_BYTES", 1 << 60), "disk"),
        (lambda m: m.setattr(checks, "MEMORY_BYTES", 1 << 60), "memory"),
        (lambda m: m.setattr(os, "access", lambda *_: False), "run folder"),
    ],
    ids=["descriptors", "packages", "nginx", "disk", "memory", "run folder"],
)
def test_what_is_lacking_fails_its_row_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, netns: Choice, lacking: Callable[[pytest.MonkeyPatch], None], name: str
) -> None:
    """F66, F67."""
    monkeypatch.setattr(checks, "_features", lambda _: [])
    lacking(monkeypatch)

    rows = {row.name: row for row in checks.checks(netns)}

    assert rows[name].status is Status.FAILED
    assert rows[name].fix


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


@pytest.mark.netns
def test_here_every_row_is_in_order(netns: Choice) -> None:
    assert [row for row in checks.checks(netns) if row.status is Status.FAILED] == []
