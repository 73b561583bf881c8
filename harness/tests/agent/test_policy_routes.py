"""Policy routes on kernels that have no IPv6."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from harness.agent import policy_routes
from harness.agent.rules.marks import TABLE, PolicyRoute


class OnlyIpv4:
    """Answers for rules as a kernel without IPv6 does."""

    def get_rules(self, family: int) -> list[dict[str, int]]:
        if family != policy_routes._AF_INET:
            raise NetlinkError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return [{"table": TABLE, "fwmark": 0x111, "priority": 32764}, {"table": 254, "priority": 32766}]


def test_a_kernel_without_ipv6_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(policy_routes, "IPV6", tmp_path / "gone")

    assert [PolicyRoute(mark=0x111, preference=32764)] == policy_routes._present(OnlyIpv4())
