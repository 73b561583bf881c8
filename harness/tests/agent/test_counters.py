"""The kernel's texts, taken apart."""

from __future__ import annotations

import pytest

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
