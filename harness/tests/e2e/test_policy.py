"""Who may talk to whom, held by real certificates and real rules."""

from __future__ import annotations

import subprocess

import pytest

from harness.plan.model import Interception
from harness.tests.e2e.beds import Pods

CAPTURING = [Interception.REDIRECT, Interception.TPROXY, Interception.TPROXY_NOTRACK]


@pytest.fixture(autouse=True, params=CAPTURING)
def _level(request: pytest.FixtureRequest, pods: Pods) -> None:
    pods.lane.capture(request.param)


@pytest.mark.parametrize(("target", "node"), [("server-local", "a"), ("server-remote", "b")])
def test_a_denied_identity_is_reset_at_the_destination(pods: Pods, target: str, node: str) -> None:
    before = pods.stats(node)

    seen = pods.get("denied", target)

    assert seen == {"error": "ConnectionResetError"}
    assert pods.grown(node, "connects_denied", before) == 1


def test_the_denied_identity_may_leave_the_mesh(pods: Pods) -> None:
    """The refusal is the servers' policy about an identity, and outside nobody asks for one."""
    assert pods.get("denied", "outside")["words"]["pod"] == "outside"


def test_plaintext_into_a_strict_namespace_is_refused(pods: Pods) -> None:
    before = pods.stats("a")

    seen = pods.get("uncaptured", "denied")

    assert seen == {"error": "ConnectionResetError"}
    assert pods.grown("a", "policy_evaluations", before) == 1


def test_mutual_tls_into_a_strict_namespace_is_allowed(pods: Pods) -> None:
    assert pods.get("client", "denied")["words"]["pod"] == "denied"


def test_an_app_cannot_take_the_proxys_mark(pods: Pods) -> None:
    """T70: with the mark it would pass by the redirection."""
    assert pods.do("client", "mark") == {"error": "PermissionError"}


def test_an_app_cannot_edit_its_rules(pods: Pods) -> None:
    """T71: neither with iptables nor with nft."""
    assert pods.do("client", "edit_rules") == {"iptables": "PermissionError", "nft": "EPERM"}


def test_an_ipv4_testbed_has_no_ipv6_to_pass_by_the_mesh(pods: Pods) -> None:
    """T72: not captured, hence not there."""
    for address in ("fd00:10:244::3", "fe80::1", "2001:db8::1"):
        assert pods.do("client", "http", address=address, port=8080, nonce="00") == {"error": "OSError"}


def test_no_key_lies_in_the_run_folder(pods: Pods) -> None:
    """T42: keys stay in the processes' memory."""
    found = subprocess.run(
        ["grep", "-rlE", "PRIVATE KEY", str(pods.bed.layout.directory)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert found.stdout == ""
