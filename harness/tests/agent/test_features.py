"""What the agent tries of a kernel is what it uses: break that, and the feature is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.agent import capture, conntrack, features, links, netns, policy_routes, stray, sysctls, taps
from harness.agent import probe as probing
from harness.agent.appliers import Applier, ApplyError
from harness.agent.appliers.restore import Restore
from harness.agent.delay import netem
from harness.agent.rules.model import RuleSet
from harness.agent.workers import Workers
from harness.engines.images import REPOSITORY

pytestmark = pytest.mark.netns

SOFT = {"netem"}
"""What a kernel may lack."""


def broken(*_arguments: object, **_named: object) -> None:
    """What the kernel says of a feature that is not there."""
    raise OSError(95, "broken for this test")


def test_here_everything_is_there() -> None:
    with Workers() as workers:
        found = features.tried(workers) | features.tried_rules(workers)

    assert {} == {name: each for name, each in found.items() if each["error"] and name not in SOFT}


@pytest.mark.parametrize(
    ("module", "function", "feature"),
    [
        (links, "make", "links"),
        (links, "bridge", "links"),
        (links, "configure", "links"),
        (sysctls, "prepare", "settings"),
        (policy_routes, "add", "policy routes"),
        (conntrack, "flush", "conntrack table"),
        (conntrack, "dump", "conntrack table"),
        (stray, "open_watch", "packet sockets"),
        (taps, "open_nonce_tap", "packet sockets"),
        (taps, "open_stamp_tap", "packet sockets"),
        (netns, "inside", "entering namespaces"),
        (netem, "lay", "netem"),
    ],
)
def test_a_feature_is_tried_by_the_code_that_uses_it(
    module: object, function: str, feature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: what was tried was netlink, and what was used a file."""
    monkeypatch.setattr(module, function, broken)
    with Workers() as workers:
        found = features.tried(workers, {feature: features.FEATURES[feature]})

    assert "broken for this test" in found[feature]["error"]


def test_a_dump_that_is_not_what_the_kernel_counts_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """D1: such a dump would pass for an empty table."""
    monkeypatch.setattr(conntrack, "dump", lambda: {"counted": 3, "others": 0, "entries": []})
    with Workers() as workers:
        found = features.tried(workers, {"conntrack table": features.track.__name__})

    assert "differs from the kernel's count" in found["conntrack table"]["error"]


class WithoutTproxy(Restore):
    """An applier in a kernel that lacks a target."""

    def apply(self, rules: RuleSet) -> None:
        """Refuses a whole table, as the kernel does."""
        if any("TPROXY" in text for _, _, _, text in rules.lines()):
            raise ApplyError("No chain/target/match by that name")
        super().apply(rules)


def only(monkeypatch: pytest.MonkeyPatch, applier: Callable[[], Applier]) -> None:
    """Let there be no other applier."""
    monkeypatch.setattr(capture, "APPLIERS", {"one": applier})
    monkeypatch.setattr(probing, "ORDER", tuple(capture.APPLIERS))


def test_a_level_that_the_kernel_refuses_is_told_with_the_rule_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only(monkeypatch, WithoutTproxy)
    with Workers() as workers:
        found = features.tried_rules(workers)

    assert (None, None) == (found["rules"]["error"], found["redirect"]["error"])
    at_fault = r"No chain/target/match by that name; refused by itself: mangle "
    assert found["tproxy"]["error"].startswith(at_fault)
    assert "-j TPROXY" in found["tproxy"]["error"]
    assert found["IPv6"]["error"].startswith("tproxy")


def test_the_users_choice_of_an_applier_is_what_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(probing.APPLIER_ENV, "iptables-restore")
    with Workers() as workers:
        found = features.tried_rules(workers)

    assert f"iptables-restore: {probing.APPLIER_ENV} asks for it" == found["rules"]["found"]
    assert {"works with iptables-restore"} == {
        found[name]["found"] for name in ("redirect", "tproxy", "tproxy-notrack", "IPv6")
    }


def test_without_an_applier_no_level_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, lambda: Restore(backends=("no-such-iptables",)))
    with Workers() as workers:
        found = features.tried_rules(workers)

    for name in ("rules", "redirect", "tproxy", "tproxy-notrack", "IPv6"):
        assert "no no-such-iptables-" in found[name]["error"]


def test_the_program_writes_it_down(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "harness.agent.features", str(file)]
    subprocess.run(["unshare", "--net", *command], check=True, cwd=REPOSITORY, stderr=subprocess.DEVNULL)

    found = json.loads(file.read_text())
    assert found["rules"]["found"].startswith("python-iptables: ")
    assert {*features.FEATURES, "rules", "redirect", "tproxy", "tproxy-notrack", "IPv6"} == set(found)
