"""h2spec's part "hpack": every mistake is a connection error of type COMPRESSION_ERROR (RFC 9113 4.3).

h2 by itself says PROTOCOL_ERROR to all of them.
"""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.frames import END_HEADERS, FrameType
from proxy.tests.wire.cases import Dies, Lives, cases, verify
from proxy.tests.wire.peer import block
from proxy.tests.wire.running import Running

pytestmark = pytest.mark.netns

BROKEN = Dies(ErrorCodes.COMPRESSION_ERROR)
NAME = b"\0\4x-te"
"""A literal field's name, not indexed."""


def behind(written: bytes) -> bytes:
    """A CONNECT's block with more behind it."""
    return frames.frame(FrameType.HEADERS, END_HEADERS, 1, block() + written)


def huffman(text: bytes, *, extra: bytes = b"", last: int | None = None) -> bytes:
    """A Huffman string, spoilt."""
    coded = bytearray(Encoder().huffman_coder.encode(text))
    if last is not None:
        coded[-1] = last
    coded += extra
    return bytes([0x80 | len(coded)]) + coded


@cases(
    ("indexed field", behind(b"\xc6"), BROKEN),
    ("literal field", behind(b"\x7f\x07\5value"), BROKEN),
)
def test_index_beyond_the_table(server: Running, sent: bytes, expected: Dies) -> None:
    """hpack/2.3.3."""
    verify(server, sent, expected)


@cases(("at the end of a block", behind(b"\x21"), BROKEN))
def test_size_update_in_the_wrong_place(server: Running, sent: bytes, expected: Dies) -> None:
    """hpack/4.2."""
    verify(server, sent, expected)


@cases(
    ("padding longer than 7 bits", behind(NAME + huffman(b"test", extra=b"\xff")), BROKEN),
    ("padding of zeros", behind(NAME + huffman(b"test", last=0x90)), BROKEN),
    ("the end of string symbol", behind(NAME + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"), BROKEN),
)
def test_huffman(server: Running, sent: bytes, expected: Dies) -> None:
    """hpack/5.2."""
    verify(server, sent, expected)


@cases(("index 0", behind(b"\x80"), BROKEN))
def test_index_zero(server: Running, sent: bytes, expected: Dies) -> None:
    """hpack/6.1."""
    verify(server, sent, expected)


@cases(
    (
        "larger than SETTINGS allow",
        frames.frame(FrameType.HEADERS, END_HEADERS, 1, b"\x3f\xff\x7f" + block()),
        BROKEN,
    ),
)
def test_size_update_too_large(server: Running, sent: bytes, expected: Dies) -> None:
    """hpack/6.3."""
    verify(server, sent, expected)


def test_what_is_right_is_taken(server: Running) -> None:
    """hpack/5.2, the other way round: the same forms without the mistakes."""
    verify(server, behind(NAME + huffman(b"test")), Lives(statuses={1: 200}))
