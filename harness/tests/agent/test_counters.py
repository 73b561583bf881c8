"""The kernel's texts, taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.agent import conntrack
from harness.agent.counters import devices, pairs


def test_groups_of_names_and_values_become_flat_counters() -> None:
    text = "TcpExt: ListenDrops TCPSynRetrans\nTcpExt: 3 4\nTcp: RetransSegs MaxConn\nTcp: 5 -1\n"

    expected = {
        "TcpExt.ListenDrops": 3,
        "TcpExt.TCPSynRetrans": 4,
        "Tcp.RetransSegs": 5,
        "Tcp.MaxConn": -1,
    }
    assert expected == pairs(text)


def test_a_value_without_a_name_is_not_swallowed() -> None:
    with pytest.raises(ValueError, match="argument"):
        pairs("Tcp: A\nTcp: 1 2\n")


def test_links_become_packets_and_bytes_each_way() -> None:
    text = (
        "Inter-|   Receive                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n"
        "  eth0:    1000      10    0    0    0     0          0         0     2000      20    0    0    0"
        "     0       0          0\n"
    )

    expected = {"eth0": {"rx_bytes": 1000, "rx_packets": 10, "tx_bytes": 2000, "tx_packets": 20}}
    assert expected == devices(text)


FROM_KERNEL = (
    "ipv4     2 tcp      6 995 TIME_WAIT src=10.0.0.2 dst=10.0.0.9 sport=51522 dport=8080 "
    "src=10.0.0.2 dst=10.0.0.2 sport=15001 dport=51522 [ASSURED] mark=273 zone=0 use=2"
)
UNREPLIED = (
    "tcp      6 119 SYN_SENT src=10.0.0.2 dst=10.0.0.9 sport=51522 dport=8080 [UNREPLIED] "
    "src=10.0.0.2 dst=10.0.0.2 sport=15001 dport=51522 mark=0 use=1"
)
ACCOUNTED = (
    "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=10.0.0.9 sport=51522 dport=8080 "
    "packets=5 bytes=300 src=10.0.0.2 dst=10.0.0.2 sport=15001 dport=51522 packets=4 bytes=200 "
    "[ASSURED] use=2"
)


@pytest.mark.parametrize(
    ("line", "state", "mark"),
    [
        pytest.param(FROM_KERNEL, "TIME_WAIT", 273, id="the kernel's file"),
        pytest.param(UNREPLIED, "SYN_SENT", 0, id="the program, no reply yet"),
        pytest.param(ACCOUNTED, "ESTABLISHED", 0, id="accounting on, no marks"),
    ],
)
def test_an_entry_has_both_directions(
    line: str, state: str, mark: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{line}\nipv4     2 udp      17 29 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=53\n"
    monkeypatch.setattr(conntrack, "_text", lambda: text)

    expected = {
        "src": "10.0.0.2",
        "sport": 51522,
        "dst": "10.0.0.9",
        "dport": 8080,
        "reply_src": "10.0.0.2",
        "reply_sport": 15001,
        "reply_dst": "10.0.0.2",
        "reply_dport": 51522,
        "state": state,
        "mark": mark,
    }
    assert [expected] == conntrack.entries()


@pytest.mark.parametrize(
    "addresses",
    [
        "src=fd00:0010:0244:0000:0000:0000:0000:0002 dst=fd00:0010:0244:0001:0000:0000:0000:0002",
        "src=fd00:10:244::2 dst=fd00:10:244:1::2",
    ],
    ids=["the kernel's file", "the program"],
)
def test_an_ipv6_entry_is_spelled_in_one_way(addresses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = "src=0000:0000:0000:0000:0000:0000:0000:0001 dst=fd00:10:244::2 sport=15001 dport=51522"
    line = f"ipv6     10 tcp      6 995 TIME_WAIT {addresses} sport=51522 dport=8080 {reply} mark=0 use=2"
    monkeypatch.setattr(conntrack, "_text", lambda: line + "\n")

    (entry,) = conntrack.entries()

    assert ("fd00:10:244::2", "fd00:10:244:1::2") == (entry["src"], entry["dst"])
    assert ("::1", "fd00:10:244::2") == (entry["reply_src"], entry["reply_dst"])


def test_the_program_is_asked_for_ipv6_where_the_kernel_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def listed(family: str) -> str:
        asked.append(family)
        return ""

    monkeypatch.setattr(conntrack, "_listed", listed)
    monkeypatch.setattr(conntrack, "_COUNT", tmp_path)
    monkeypatch.setattr(conntrack, "_PROC", tmp_path / "none")
    for there in (tmp_path, tmp_path / "gone"):
        monkeypatch.setattr(conntrack, "IPV6", there)
        conntrack._text()

    assert ["ipv4", "ipv6", "ipv4"] == asked
