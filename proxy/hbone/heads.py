"""Header blocks: HPACK both ways, and the rules that a head must keep. The only file that knows hpack and h2.

Received blocks are decoded by hpack and judged by h2's rules. Ours are written without HPACK's table
and without Huffman's code: a head of ours is five fields, most of which never repeat, and in Python
each byte saved costs more than it is worth (64 us against 6 for a CONNECT, and 30 us less to decode).
With no table there is nothing that a peer's SETTINGS could make us keep.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.hpack import encode_integer

from proxy.hbone.errors import Flood, MalformedHead, RemoteProtocolError
from proxy.hbone.events import Header

_NO_TABLE: Final = b"\x20"
"""A dynamic table size update to 0 (RFC 7541 6.3), once, in front of our first head: whatever the peer
announces, our table is never larger than that."""
_STATIC: Final = {b":authority": b"\x01", b":method": b"\x02", b":status": b"\x08"}
"""Names of HPACK's static table (RFC 7541 appendix A) as they begin a literal without indexing (6.2.2)."""


class Heads:
    """One side's heads, in the order in which they come and go: HPACK's state depends on it."""

    def __init__(self, *, client: bool, header_list: int) -> None:
        """`header_list`: most bytes of a received head, by HPACK's count."""
        self._decoder = Decoder(max_header_list_size=header_list)
        self._rules = HeaderValidationFlags(
            is_client=client, is_trailer=False, is_response_header=client, is_push_promise=False
        )
        self._prefix = _NO_TABLE

    def encode(self, head: list[Header]) -> bytes:
        """A header block; names are lower case and values clean, as we make them."""
        block, self._prefix = self._prefix, b""
        for name, value in head:
            block += _name(name) + _length(len(value)) + value
        return block

    def decode(self, block: bytes) -> list[Header]:
        """The fields of a header block. Every block that comes has to pass here, in order, for HPACK's sake.

        Raises:
            RemoteProtocolError: Not to be decoded, or decoded to more than we take.
        """
        try:
            return [(field[0], field[1]) for field in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as exc:
            raise Flood("header list") from exc
        except (HPACKError, IndexError, TypeError) as exc:
            raise RemoteProtocolError(f"header block: {exc}", ErrorCodes.COMPRESSION_ERROR) from exc

    def check(self, head: list[Header]) -> None:
        """Hold a decoded head against the rules of RFC 9113 8.2 and 8.3.

        Raises:
            MalformedHead: It breaks one.
        """
        try:
            for _ in validate_headers(head, self._rules):
                pass
        except ProtocolError as exc:
            raise MalformedHead(str(exc)) from exc


@lru_cache(maxsize=64)
def _name(name: bytes) -> bytes:
    """The beginning of a literal field without indexing (RFC 7541 6.2.2)."""
    return _STATIC.get(name) or b"\x00" + _length(len(name)) + name


@lru_cache(maxsize=512)
def _length(length: int) -> bytes:
    """A string's length, and that it is not Huffman's (RFC 7541 5.2)."""
    return bytes(encode_integer(length, 7))
