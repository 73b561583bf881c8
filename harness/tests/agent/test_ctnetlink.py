"""The kernel's messages, taken apart: recorded ones, and every way in which one can be cut short."""

from __future__ import annotations

import pytest

from harness.agent.ctnetlink import CtnetlinkError, Entry, Tuple, entry

TCP4 = bytes.fromhex(
    "3400018014000180080001007f000001080002007f0000011c000280050001000600000006000200e8e00000060003001f90"
    "00003400028014000180080001007f000001080002007f0000011c0002800500010006000000060002001f90000006000300"
    "e8e00000080003000000000e080008000000011108000c0046c9af7608000b0000000001080007000006977f300004802c00"
    "01800500010003000000050002000a000000050003000a000000060004002300000006000500230000001c0009800c000100"
    "00000000000000020c00020000000000000000701c000a800c00010000000000000000010c000200000000000000003c"
)
"""Established, mark 273, with packets and bytes counted (nf_conntrack_acct=1). Kernel 6.18."""
ZONED = bytes.fromhex(
    "3400018014000180080001007f000001080002007f0000011c0002800500010006000000060002009a020000060003001e61"
    "00003400028014000180080001007f000001080002007f0000011c0002800500010006000000060002001e61000006000300"
    "9a02000006001200000500000800030000000008080008000000011108000c000fc6086508000b0000000001080007000000"
    "0077300004802c0001800500010001000000050002000a000000050003000000000006000400030000000600050000000000"
    "1c0009800c00010000000000000000010c000200000000000000003c1c000a800c00010000000000000000000c0002000000"
    "000000000000"
)
"""No reply yet, in zone 5."""
TCP6 = bytes.fromhex(
    "4c0001802c000180140003000000000000000000000000000000000114000400000000000000000000000000000000011c00"
    "02800500010006000000060002009d140000060003001f9100004c0002802c00018014000300000000000000000000000000"
    "0000000114000400000000000000000000000000000000011c0002800500010006000000060002001f910000060003009d14"
    "0000080003000000000e080008000000000008000c00a756a8c508000b0000000001080007000000003b300004802c000180"
    "0500010005000000050002000a000000050003000a000000060004002700000006000500230000001c0009800c0001000000"
    "0000000000030c00020000000000000000e01c000a800c00010000000000000000020c0002000000000000000098"
)
"""Half closed, IPv6, no mark."""
UDP4 = bytes.fromhex(
    "3400018014000180080001007f000001080002007f0000011c000280050001001100000006000200a4f40000060003000035"
    "00003400028014000180080001007f000001080002007f0000011c0002800500010011000000060002000035000006000300"
    "a4f400000800030000000008080008000000011108000c003c4273d308000b0000000001080007000000001d1c0009800c00"
    "010000000000000000010c000200000000000000001d1c000a800c00010000000000000000000c0002000000000000000000"
)
LO = "127.0.0.1"


def way(source: str, source_port: int, destination: str, destination_port: int, protocol: int = 6) -> Tuple:
    """One direction."""
    return Tuple(
        source=source,
        destination=destination,
        protocol=protocol,
        source_port=source_port,
        destination_port=destination_port,
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(
            TCP4,
            Entry(
                original=way(LO, 59616, LO, 8080),
                reply=way(LO, 8080, LO, 59616),
                state="ESTABLISHED",
                mark=273,
                zone=0,
            ),
            id="counted",
        ),
        pytest.param(
            ZONED,
            Entry(
                original=way(LO, 39426, LO, 7777),
                reply=way(LO, 7777, LO, 39426),
                state="SYN_SENT",
                mark=273,
                zone=5,
            ),
            id="zone",
        ),
        pytest.param(
            TCP6,
            Entry(
                original=way("::1", 40212, "::1", 8081),
                reply=way("::1", 8081, "::1", 40212),
                state="CLOSE_WAIT",
                mark=0,
                zone=0,
            ),
            id="IPv6",
        ),
        pytest.param(
            UDP4,
            Entry(
                original=way(LO, 42228, LO, 53, 17),
                reply=way(LO, 53, LO, 42228, 17),
                state="",
                mark=273,
                zone=0,
            ),
            id="UDP",
        ),
    ],
)
def test_an_entry_has_both_directions_its_state_mark_and_zone(message: bytes, expected: Entry) -> None:
    assert expected == entry(message)


@pytest.mark.parametrize("length", range(0, 0x34 + 0x34, 4))
def test_an_entry_that_is_cut_short_is_an_error_and_never_left_out(length: int) -> None:
    """D1: one that cannot be read would pass for one that is not there."""
    with pytest.raises(CtnetlinkError, match=rf"an entry of {length} bytes is malformed"):
        entry(TCP4[:length])


@pytest.mark.parametrize("damage", [b"\x00\x00", b"\x03\x00", b"\xff\xff"])
def test_a_length_that_leads_nowhere_is_an_error(damage: bytes) -> None:
    with pytest.raises(CtnetlinkError, match="malformed"):
        entry(damage + TCP4[2:])


def test_a_state_that_nobody_knows_is_an_error() -> None:
    state = bytes.fromhex("2c0001800500010003")
    assert 1 == TCP4.count(state)

    with pytest.raises(CtnetlinkError, match="malformed"):
        entry(TCP4.replace(state, state[:-1] + b"\x20"))
