"""Heads as other implementations of HPACK read and write them."""

from __future__ import annotations

import pytest
from h2.utilities import HeaderValidationFlags, validate_headers
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.hbone import frames, literals
from proxy.hbone.connection import Connection, Side
from proxy.hbone.errors import LocalProtocolError, RemoteProtocolError
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


NAMES = [b":method", b":authority", b":status", b"forwarded", b"traceparent", b"baggage", b"te", b""]
VALUES = st.one_of(st.sampled_from([b"CONNECT", b"GET", b"200", b"a b"]), st.binary(max_size=300))
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6)


@settings(deadline=None)
@given(
    st.one_of(
        FIELDS.map(literals.encode),
        st.binary(max_size=200),
        st.tuples(FIELDS.map(literals.encode), st.binary(max_size=9)).map(b"".join),
    )
)
def test_a_block_of_literals_means_what_hpack_says_and_leaves_its_table_alone(block: bytes) -> None:
    """Whatever is decoded without hpack, hpack decodes likewise, with the same table before and after."""
    found = literals.decode(block, 1000)

    if found is not None:
        decoder = Decoder(max_header_list_size=1000)
        before = (decoder.header_table_size, len(decoder.header_table.dynamic_entries))
        assert found == [tuple(field) for field in decoder.decode(block, raw=True)]
        assert before == (decoder.header_table_size, len(decoder.header_table.dynamic_entries))


@settings(deadline=None)
@given(FIELDS)
def test_literals_of_ours_are_decoded_without_hpack_unless_they_are_too_large(head: list[Header]) -> None:
    size = sum(len(name) + len(value) + 32 for name, value in head)
    block = literals.encode(head)

    assert (literals.decode(block, size), literals.decode(block, size - 1)) == (
        head if all(len(value) < 255 for _, value in head) else None,
        None,
    )


def test_the_fields_of_a_peer_with_a_table_are_known_after_a_block_of_literals() -> None:
    """Decoding literals without hpack has not put its table out of step with the peer's."""
    ours, encoder = Heads(client=True, header_list=65536), Encoder()
    answer: list[Header] = [(b":status", b"200"), (b"baggage", b"k8s.pod.name=server")]
    ours.decode(encoder.encode(answer))

    assert ours.decode(literals.encode(answer)) == answer
    assert ours.decode(encoder.encode(answer)) == answer


BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(["literals", "no table, literals", "table", "small table", "junk"]),
        FIELDS,
        st.binary(max_size=20),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(BLOCKS)
def test_blocks_of_any_kind_in_any_order_mean_what_hpack_alone_would_say(
    blocks: list[tuple[str, list[Header], bytes]],
) -> None:
    """hpack's decoder is made late and sees not every block; nobody can tell."""
    ours, alone, encoder = Heads(client=True, header_list=65536), Decoder(), Encoder()
    alone.max_header_list_size = 65536
    for kind, head, junk in blocks:
        match kind:
            case "literals":
                block = literals.encode(head)
            case "no table, literals":
                # The peer's own table is shrunk with it, or its later blocks would mean something else.
                encoder.header_table_size = 0
                block = b"\x20" + literals.encode(head)
            case "small table":
                encoder.header_table_size = 100
                block = encoder.encode(head)
            case "table":
                block = encoder.encode(head)
            case _:
                block = junk
        try:
            expected = [(field[0], field[1]) for field in alone.decode(block, raw=True)]
        except (HPACKError, IndexError, TypeError):
            with pytest.raises(RemoteProtocolError):
                ours.decode(block)
            return
        assert ours.decode(block) == expected


@settings(deadline=None)
@given(FIELDS, st.booleans())
def test_a_plain_head_keeps_every_rule_of_h2(head: list[Header], client: bool) -> None:
    rules = HeaderValidationFlags(
        is_client=client, is_trailer=False, is_response_header=client, is_push_promise=False
    )
    if Heads(client=client, header_list=65536)._plain(head):
        assert list(validate_headers(head, rules)) == head


@pytest.mark.parametrize(
    ("head", "plain"),
    [
        (HEADERS, True),
        ([*HEADERS, (b"baggage", b"k8s.pod.name=client")], True),
        ([*HEADERS, (b"baggage", b"")], False),
        ([*HEADERS, (b"baggage", b" padded")], False),
        ([*HEADERS, (b"baggage", b"line\nbreak")], False),
        ([*HEADERS, (b"baggage", b"a"), (b"baggage", b"b")], False),
        ([*HEADERS, (b"te", b"trailers")], False),
        ([(b":method", b"GET"), *HEADERS[1:]], False),
        ([], False),
    ],
)
def test_what_is_plain(head: list[Header], plain: bool) -> None:
    """One row for each way out of it."""
    assert plain == Heads(client=False, header_list=65536)._plain(head)
