"""Settings of namespaces: IPv6 on where the topology has it, off where not, and never half-way."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.agent import conntrack, sysctls
from harness.agent.sysctls import Kind, SysctlError, prepare


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A /proc/sys/net of files, with one link and IPv6."""
    for settings in (sysctls._WITH_IPV6, sysctls._EVERY_LINK):
        for link in ("all", "default", "lo"):
            for key in settings:
                (tmp_path / key.format(link=link)).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / key.format(link=link)).touch()
    for key in sysctls.base(Kind.POD) | {"ipv4/tcp_congestion_control": ""}:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).touch()
    (tmp_path / "ipv4/tcp_allowed_congestion_control").write_text("reno cubic\n")
    monkeypatch.setattr(sysctls, "ROOT", tmp_path)
    monkeypatch.setattr(sysctls, "IPV6", tmp_path / "ipv6")
    monkeypatch.setattr(conntrack, "count", lambda: 0)
    return tmp_path


@pytest.mark.parametrize(("ipv6", "disabled"), [(True, "0"), (False, "1")])
def test_ipv6_is_off_unless_the_topology_has_it(kernel: Path, ipv6: bool, disabled: str) -> None:
    """F29, T72: enabled where it is captured; where it is not, it does not exist."""
    prepare(Kind.POD, ipv6=ipv6)

    for link in ("all", "default", "lo"):
        assert disabled == (kernel / f"ipv6/conf/{link}/disable_ipv6").read_text()


def test_a_kernel_without_ipv6_cannot_hold_a_dual_stack_topology(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F29: refused with the reason, and not brought up as IPv4 alone."""
    monkeypatch.setattr(sysctls, "IPV6", kernel / "gone")

    with pytest.raises(SysctlError, match=r"dual-stack, but this kernel has no IPv6 .* ipv6\.disable=1"):
        prepare(Kind.POD, ipv6=True)


def test_a_kernel_without_ipv6_holds_every_other_one(kernel: Path) -> None:
    """F29: IPv4 alone needs nothing of it."""
    (kernel / "ipv6").rename(kernel / "no-ipv6")

    settings = prepare(Kind.POD)

    assert "cubic" == settings["ipv4/tcp_congestion_control"]
    assert not (kernel / "ipv6").exists()


@pytest.mark.parametrize("kind", Kind)
def test_a_segment_outside_the_window_stays_in_its_connection(kernel: Path, kind: Kind) -> None:
    """T76, F23: else the kernel calls it INVALID, translates nothing, and the far end resets."""
    settings = prepare(kind)

    assert "1" == (kernel / "netfilter/nf_conntrack_tcp_be_liberal").read_text()
    assert "1" == settings["netfilter/nf_conntrack_tcp_be_liberal"]
