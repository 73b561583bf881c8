"""The negotiation alone: whole, byte by byte, and everything that is no SOCKS5."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.explicit.socks import Negotiation, NotSocks, Reply, reply

GREETING = b"\5\1\0"
V4 = b"\5\1\0\1" + ip_address("10.1.2.3").packed + b"\x1f\x90"
V6 = b"\5\1\0\4" + ip_address("fd00::7").packed + b"\0\x50"
MAPPED = b"\5\1\0\4" + ip_address("::ffff:10.1.2.3").packed + b"\0\x50"
NAME = b"\5\1\0\3\7web.ns2\0\x50"


def feed(data: bytes, at_once: int = 1 << 16) -> tuple[Negotiation, bytes, bytes]:
    """A negotiation that was given what it wanted; what it answered; what is left of `data`."""
    negotiation, answers = Negotiation(), b""
    while data and negotiation.target is None:
        length = min(at_once, negotiation.wants)
        answers += negotiation.receive(data[:length])
        data = data[length:]
    return negotiation, answers, data


@pytest.mark.parametrize("at_once", [1, 2, 3, 1 << 16])
@pytest.mark.parametrize("trailing", [b"", b"GET / HTTP/1.1\r\n"])
@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (V4, (ip_address("10.1.2.3"), 8080)),
        (V6, (ip_address("fd00::7"), 80)),
        (MAPPED, (ip_address("10.1.2.3"), 80)),
        (NAME, ("web.ns2", 80)),
    ],
    ids=["v4", "v6", "v4-mapped", "name"],
)
def test_a_request_in_pieces_of_any_size_leaves_the_apps_bytes_alone(
    request_: bytes, target: object, trailing: bytes, at_once: int
) -> None:
    negotiation, answers, rest = feed(GREETING + request_ + trailing, at_once)

    assert (negotiation.target, negotiation.wants) == (target, 0)
    assert answers == b"\5\0"
    assert rest == trailing


@pytest.mark.parametrize("length", range(len(GREETING + NAME)))
def test_a_request_cut_short_has_no_target(length: int) -> None:
    negotiation, _, _ = feed((GREETING + NAME)[:length])

    assert negotiation.target is None
    assert negotiation.wants > 0


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\n", b""),
        (b"\x16\x03\x01\x02\x00", b""),
        (b"\4\1\0\x50\n\1\2\3", b""),
        (b"\5\0", b"\5\xff"),
        (b"\5\1\2", b"\5\xff"),
        (GREETING + b"\4\1\0\1\0", b""),
        (GREETING + b"\5\2\0\1\0", reply(Reply.COMMAND_NOT_SUPPORTED)),
        (GREETING + b"\5\3\0\1\0", reply(Reply.COMMAND_NOT_SUPPORTED)),
        (GREETING + b"\5\1\0\2\0", reply(Reply.ADDRESS_TYPE_NOT_SUPPORTED)),
        (GREETING + V4[:-2] + b"\0\0", reply(Reply.GENERAL_FAILURE)),
        (GREETING + b"\5\1\0\3\0\0\x50", reply(Reply.HOST_UNREACHABLE)),
        (GREETING + b"\5\1\0\3\3a\nb\0\x50", reply(Reply.HOST_UNREACHABLE)),
        (GREETING + b"\5\1\0\3\3a b\0\x50", reply(Reply.HOST_UNREACHABLE)),
        (GREETING + b"\5\1\0\3\2\xc3\xbc\0\x50", reply(Reply.HOST_UNREACHABLE)),
    ],
)
def test_what_is_no_socks5_connect_is_told_so_and_ends(data: bytes, answer: bytes) -> None:
    with pytest.raises(NotSocks) as refused:
        feed(data, 1)

    assert refused.value.answer == answer


def test_more_than_was_wanted_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="3 bytes for 2 wanted"):
        Negotiation().receive(b"\5\1\0")


@given(st.binary(max_size=600))
def test_no_bytes_break_it_and_what_it_holds_is_bounded(data: bytes) -> None:
    try:
        negotiation, _, _ = feed(data, 1)
    except NotSocks:
        return
    assert negotiation.wants <= 257
