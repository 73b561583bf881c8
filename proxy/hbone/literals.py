"""Header blocks of nothing but literals without indexing (RFC 7541 6.2.2), without Huffman's code.

So are all heads that we write, and hence nearly all that come. Such a block neither asks HPACK's table
nor changes it: hpack's decoder need not see it, and is in step with the peer all the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from proxy.hbone.events import Header

_INDEXED_NAMES: Final = {index: HeaderTable.STATIC_TABLE[index - 1][0] for index in range(1, 15)}
"""A literal's first byte -> its name, for the names of the static table that fit into that byte."""
_FIRST_BYTES: Final = {b":authority": b"\x01", b":method": b"\x02", b":status": b"\x08"}
"""Of these the names that we write."""
_LONG: Final = 0x7F
"""A length from here on goes on in the next byte, 7 bits a byte (RFC 7541 5.1); above, it is Huffman's."""
_OVERHEAD: Final = 32
"""What each field counts beside its bytes (RFC 9113 6.5.2)."""


def encode(head: list[Header]) -> bytes:
    """A header block; names are lower case and values clean, as we make them."""
    block = b""
    for name, value in head:
        block += _name(name) + _length(len(value)) + value
    return block


def decode(block: bytes, most: int) -> list[Header] | None:
    """The fields of such a block of at most `most` bytes by HPACK's count.

    None for any other block, malformed and oversized ones included: those are for hpack to judge.
    """
    head: list[Header] = []
    position, end = 0, len(block)
    try:
        while position < end:
            name = _INDEXED_NAMES.get(block[position])
            position += 1
            if name is None:
                if block[position - 1] or block[position] >= _LONG:
                    return None
                start = position + 1
                position = start + block[position]
                name = block[start:position]
            length = block[position]
            position += 1
            if length >= _LONG:
                if length > _LONG or block[position] > _LONG:
                    return None
                length += block[position]
                position += 1
            value = block[position : position + length]
            position += length
            most -= len(name) + length + _OVERHEAD
            head.append((name, value))
    except IndexError:
        return None  # it ends too early
    return head if position == end and most >= 0 else None


@lru_cache(maxsize=64)
def _name(name: bytes) -> bytes:
    """A literal's beginning."""
    return _FIRST_BYTES.get(name) or b"\x00" + _length(len(name)) + name


@lru_cache(maxsize=512)
def _length(length: int) -> bytes:
    """A string's length, and that it is not Huffman's (RFC 7541 5.2)."""
    return bytes(encode_integer(length, 7))
