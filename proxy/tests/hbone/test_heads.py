"""Heads as other implementations of HPACK read and write them."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder

from proxy.hbone import frames
from proxy.hbone.connection import Connection, Side
from proxy.hbone.errors import LocalProtocolError
from proxy.hbone.events import Header, Requested
from proxy.hbone.heads import Heads
from proxy.hbone.limits import Limits
from proxy.tests.hbone.pair import HEADERS, Pair

HEADS: list[list[Header]] = [
    HEADERS,
    [(b":status", b"200")],
    [(b":status", b"503"), (b"baggage", b"x" * 126)],
    [(b":status", b"200"), (b"baggage", b"x" * 127), (b"empty", b"")],
    [(b":status", b"200"), (b"n" * 200, b"x" * 20_000)],
]


def test_what_we_write_is_read_by_hpack() -> None:
    ours, decoder = Heads(client=True, header_list=65536), Decoder()

    assert [
        [tuple(field) for field in decoder.decode(ours.encode(head), raw=True)] for head in HEADS
    ] == HEADS


def test_what_hpack_writes_is_read_by_us() -> None:
    """With table and Huffman's code, and the same fields again by their index."""
    ours, encoder = Heads(client=True, header_list=65536), Encoder()

    assert [ours.decode(encoder.encode(head)) for head in HEADS + HEADS] == HEADS + HEADS


def test_a_peer_that_forbids_the_table_reads_us() -> None:
    """RFC 7541 4.2: its decoder insists that the table is shrunk before the first field."""
    ours, decoder = Heads(client=True, header_list=65536), Decoder()
    decoder.max_allowed_table_size = 0

    assert [tuple(field) for field in decoder.decode(ours.encode(HEADERS), raw=True)] == HEADERS


@pytest.mark.parametrize("length", [16_000, 20_000, 40_000])
def test_a_head_larger_than_a_frame_continues(length: int) -> None:
    pair = Pair(server_limits=Limits(header_list=65_536))
    head = [*HEADERS, (b"baggage", b"x" * length)]
    pair.client.connect(head)
    pair.pump()

    assert [Requested(1, head)] == pair.events(Side.SERVER, Requested)


def test_an_answer_is_given_once_and_ended_after_it() -> None:
    pair = Pair()
    pair.client.connect(HEADERS)
    pair.pump()
    with pytest.raises(LocalProtocolError):
        pair.server.end(1)
    pair.server.answer(1, [(b":status", b"200")])
    with pytest.raises(LocalProtocolError):
        pair.server.answer(1, [(b":status", b"200")])
    pair.server.end(1)
    with pytest.raises(LocalProtocolError):
        pair.server.end(1)


def test_stream_ids_run_out() -> None:
    """RFC 9113 5.1.1: a client that has used all ids needs another connection."""
    client = Connection(Side.CLIENT)
    client.start()
    client.receive(frames.settings([]), 0.0)
    client._streams.highest = frames.MAX_STREAM_ID - 2

    assert frames.MAX_STREAM_ID == client.connect(HEADERS)
    assert not client.capacity
