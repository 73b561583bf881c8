"""Header blocks: HPACK both ways, and the rules that a head must keep. The only file that knows hpack and h2.

Received blocks are decoded by hpack and judged by h2's rules, unless they are so plain that there is
nothing to ask either for: then a tenth of the time does. Ours are written without HPACK's table and
without Huffman's code: a head of ours is five fields, most of which never repeat, and in Python each byte
saved costs more than it is worth (64 us against 6 for a CONNECT, and 30 us less to decode). With no table
there is nothing that a peer's SETTINGS could make us keep.
"""

from __future__ import annotations

import re
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from proxy.hbone import literals
from proxy.hbone.errors import Flood, MalformedHead, RemoteProtocolError
from proxy.hbone.events import Header

_NO_TABLE: Final = b"\x20"
"""A dynamic table size update to 0 (RFC 7541 6.3), once, in front of our first head: whatever the peer
announces, our table is never larger than that."""
_ANSWERS: Final = frozenset({(b":status",), (b":status", b"baggage")})
_REQUESTS: Final = frozenset(
    {
        (b":method", b":authority", b"forwarded", b"traceparent"),
        (b":method", b":authority", b"forwarded", b"traceparent", b"baggage"),
    }
)
"""Names in the order in which we send them. Other peers' heads are asked h2 about."""
_harmless = re.compile(rb"[!-~](?:[ -~]*[!-~])?").fullmatch
"""Matches values in which no rule could find anything to object to."""


class Heads:
    """One side's heads, in the order in which they come and go: HPACK's state depends on it."""

    def __init__(self, *, client: bool, header_list: int) -> None:
        """`header_list`: most bytes of a received head, by HPACK's count."""
        self._decoder: Decoder | None = None
        """hpack's, from the first block on that asks for it: most connections never have one."""
        self._untold = b""
        """What came before it and concerns it."""
        self._rules = HeaderValidationFlags(
            is_client=client, is_trailer=False, is_response_header=client, is_push_promise=False
        )
        self._plain_names = _ANSWERS if client else _REQUESTS
        self._header_list = header_list
        self._prefix = _NO_TABLE

    def encode(self, head: list[Header]) -> bytes:
        """A header block; names are lower case and values clean, as we make them."""
        prefix, self._prefix = self._prefix, b""
        return prefix + literals.encode(head)

    def decode(self, block: bytes) -> list[Header]:
        """The fields of a header block. All blocks have to pass here, in order, for HPACK's sake.

        Raises:
            RemoteProtocolError: Not to be decoded, or decoded to more than we take.
        """
        shrunk = self._decoder is None and block.startswith(_NO_TABLE)
        plain = literals.decode(block[1:] if shrunk else block, self._header_list)
        if plain is not None:
            if shrunk:
                self._untold = _NO_TABLE
            return plain
        if self._decoder is None:
            self._decoder = Decoder(max_header_list_size=self._header_list)
            block = self._untold + block
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
        if self._plain(head):
            return
        try:
            for _ in validate_headers(head, self._rules):
                pass
        except ProtocolError as exc:
            raise MalformedHead(str(exc)) from exc

    def _plain(self, head: list[Header]) -> bool:
        """Whether a head is so plain that it keeps every rule."""
        if tuple([name for name, _ in head]) not in self._plain_names:
            return False
        asks_more = not self._rules.is_client and head[0][1] != b"CONNECT"
        return not asks_more and all(map(_harmless, [value for _, value in head]))
