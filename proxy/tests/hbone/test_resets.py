"""P02, B05: which resets are ordinary traffic, and which are a flood. The clock is a number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.connection import Connection, Side
from proxy.hbone.errors import Flood
from proxy.hbone.events import Reset
from proxy.hbone.headers import response_headers
from proxy.hbone.limits import PREMATURE_S, Limits, Rate
from proxy.tests.hbone.pair import HEADERS, OK, Pair
from proxy.tests.hbone.raw import data, goaways, head, raw_client, raw_server

RATE = 1000
"""Connections a second."""
SECONDS = 5
"""For which the budget of a flood, 1000 and 33 a second, would not do."""
FEW = Limits(resets=Rate(burst=2, per_s=0))


def denied(pair: Pair, stream_id: int) -> None:
    pair.server.refuse(stream_id, response_headers(401))


def refused(pair: Pair, stream_id: int) -> None:
    pair.client.end(stream_id)
    pair.pump()
    pair.server.refuse(stream_id, response_headers(503))


def reset_by_the_backend(pair: Pair, stream_id: int) -> None:
    pair.server.answer(stream_id, OK)
    pair.pump()
    pair.server.reset(pair.stream(pair.server, stream_id), ErrorCodes.CONNECT_ERROR)


def aborted_by_the_app(pair: Pair, stream_id: int) -> None:
    pair.server.answer(stream_id, OK)
    pair.pump()
    pair.client.reset(pair.stream(pair.client, stream_id), ErrorCodes.CANCEL)


def aborted_as_the_backend_resets(pair: Pair, stream_id: int) -> None:
    pair.server.answer(stream_id, OK)
    pair.pump()
    pair.client.reset(pair.stream(pair.client, stream_id), ErrorCodes.CANCEL)
    pair.server.reset(pair.stream(pair.server, stream_id), ErrorCodes.CONNECT_ERROR)


def refused_by_the_server(pair: Pair, stream_id: int) -> None:
    pair.server.reset(pair.stream(pair.server, stream_id), ErrorCodes.REFUSED_STREAM)


ENDS = [
    denied,
    refused,
    reset_by_the_backend,
    aborted_by_the_app,
    aborted_as_the_backend_resets,
    refused_by_the_server,
]


@pytest.mark.parametrize("end", ENDS, ids=[end.__name__ for end in ENDS])
def test_ordinary_ends_cost_their_neighbour_nothing(end: Callable[[Pair, int], None]) -> None:
    """P02, B05: 1,000 a second beside a connection that lives on, and neither side counts one of them."""
    pair = Pair()
    neighbour = pair.connect()
    for number in range(RATE * SECONDS):
        pair.now = number / RATE
        stream_id = pair.client.connect(HEADERS)
        pair.stream(pair.client, stream_id)
        pair.pump()
        end(pair, stream_id)
        pair.pump()

    assert pair.send(pair.client, neighbour, b"still here") == 10
    pair.pump()
    assert pair.received[Side.SERVER, neighbour] == b"still here"
    assert pair.client.live == pair.server.live == 1


def flood(server: Connection, frame: bytes, now: float) -> None:
    with pytest.raises(Flood) as caught:
        server.receive(frame, now)

    assert caught.value.kind == "resets"
    assert goaways(server.output())[-1][1] == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(("after_s", "counts"), [(0.0, True), (PREMATURE_S / 2, True), (PREMATURE_S, False)])
def test_a_request_that_is_taken_back_counts_while_it_is_young(after_s: float, *, counts: bool) -> None:
    """P02, T01: a caller's own time limit ends a request to an app that does not answer."""
    server, encoder = raw_server(FEW), Encoder()
    for stream_id in (1, 3):
        server.receive(head(stream_id, encoder=encoder), 0.0)
        server.receive(frames.rst_stream(stream_id, ErrorCodes.CANCEL), after_s)
    server.receive(head(5, encoder=encoder), 10.0)
    last = frames.rst_stream(5, ErrorCodes.CANCEL)
    if counts:
        flood(server, last, 10.0 + after_s)
    else:
        (event,) = server.receive(last, 10.0 + after_s)
        assert event == Reset(5, ErrorCodes.CANCEL, "reset by the peer")


def test_a_stream_is_reset_once() -> None:
    """P02: a reset that crossed an end is nothing; more of them than there were streams is a flood."""
    server = raw_server(FEW)
    server.receive(head(1), 0.0)
    server.answer(1, OK)
    server.reset(server.stream(1), ErrorCodes.CONNECT_ERROR)
    again = frames.rst_stream(1, ErrorCodes.CANCEL)
    server.receive(again * 3, 0.0)

    flood(server, again, 0.0)


def test_a_server_that_breaks_the_rules_is_counted() -> None:
    """T24: what a client is made to reset is no ordinary end."""
    client = raw_client(FEW)
    for stream_id in (1, 3):
        client.receive(data(stream_id, b"before the answer"), 0.0)
        assert client.connect(HEADERS) == stream_id + 2

    flood(client, data(5, b"before the answer"), 0.0)
