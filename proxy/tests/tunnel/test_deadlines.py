"""T15: each stage has its limit, whatever comes or does not come. The clock is a number."""

from __future__ import annotations

from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.connection import Connection, Side
from proxy.hbone.frames import FrameType
from proxy.tests.hbone.pair import HEADERS
from proxy.tunnel.deadlines import Deadlines

SETTINGS = frames.settings([])
ACK = frames.head(0, FrameType.SETTINGS, frames.ACK, 0)
REQUEST = frames.frame(FrameType.HEADERS, frames.END_HEADERS, 1, Encoder().encode(HEADERS))


def overdue(*received: tuple[float, bytes], at: float, side: Side = Side.SERVER) -> str | None:
    """What a peer that sent these bytes at these times is late with."""
    connection = Connection(side)
    connection.start()
    if side is Side.CLIENT:
        connection.connect(HEADERS)
    deadlines = Deadlines(connection, 0.0, 5.0)
    for moment, data in received:
        connection.receive(data, moment)
        deadlines.received(moment)
    return deadlines.overdue(at)


def test_stages() -> None:
    preface = frames.PREFACE

    assert overdue(at=4.9) is None
    assert overdue(at=5.0) == "no SETTINGS after 5 s"
    assert overdue((1.0, preface[:10]), at=5.9) == "no SETTINGS after 5 s"
    assert overdue((1.0, preface[:10]), at=6.0) == "a frame not complete after 5 s"
    assert overdue((1.0, preface + SETTINGS), at=5.0) == "our SETTINGS not acknowledged after 5 s"
    assert overdue((1.0, preface + SETTINGS + ACK), at=5.0) == "no request after 5 s"
    assert overdue((1.0, preface + SETTINGS + ACK + REQUEST), at=5000.0) is None


def test_dripped_frame_does_not_win_time() -> None:
    whole = frames.PREFACE + SETTINGS + ACK + REQUEST
    ping = frames.ping(b"12345678", ack=False)
    drips = [(100.0 + second, ping[second : second + 1]) for second in range(6)]

    assert overdue((1.0, whole), *drips, at=104.9) is None
    assert overdue((1.0, whole), *drips, at=105.0) == "a frame not complete after 5 s"


def test_half_a_data_frame_is_a_slow_app() -> None:
    whole = frames.PREFACE + SETTINGS + ACK + REQUEST
    half = frames.frame(FrameType.DATA, 0, 1, bytes(100))[:50]

    assert overdue((1.0, whole), (2.0, half), at=5000.0) is None


def test_client_needs_no_request() -> None:
    assert overdue((1.0, SETTINGS + ACK), at=5000.0, side=Side.CLIENT) is None
    assert overdue(at=5.0, side=Side.CLIENT) == "no SETTINGS after 5 s"
