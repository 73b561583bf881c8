"""Between an app that asks and the far proxy's answer: what is tried again, and what is given up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import pytest
from h2.errors import ErrorCodes

from proxy.explicit.socks import Reply, reply
from proxy.hbone import frames
from proxy.telemetry import Outcome
from proxy.tests.listeners.far import Requested, accept, far, ignore
from proxy.tests.sockets import receive_exactly, reset, run, send, until

SUCCEEDED = reply(Reply.SUCCEEDED)


def test_a_pooled_tunnel_that_does_not_answer_is_left_and_another_tried() -> None:
    """P24: its peer is gone without a word, long before a PING would tell; nor is it offered again."""

    async def test() -> None:
        async with far(answer_timeout_s=0.3) as f:
            first, answer = await f.connect()
            assert answer == SUCCEEDED
            f.behave = lambda request: accept(request) if request.number else ignore(request)
            second, answer = await f.connect()
            assert answer == SUCCEEDED
            third, answer = await f.connect()

            assert answer == SUCCEEDED
            assert [request.number for request in f.requests] == [0, 0, 1, 1]
            await send(first, b"still alive")
            await until(lambda: f.requests[0].stream._early == b"still alive")
            for sock in (first, second, third):
                sock.close()

    run(test())


def test_a_new_tunnel_that_does_not_answer_is_not_offered_to_the_next() -> None:
    """P41: nor is it tried again for the connection that waited for it."""

    async def test() -> None:
        async with far(answer_timeout_s=0.3) as f:
            f.behave = lambda request: accept(request) if request.number else ignore(request)
            unlucky, answer = await f.connect()
            assert answer == reply(Reply.GENERAL_FAILURE)
            lucky, answer = await f.connect()

            assert answer == SUCCEEDED
            assert [request.number for request in f.requests] == [0, 1]
            unlucky.close()
            lucky.close()

    run(test())


def goaway(request: Requested) -> None:
    """Say that no stream was processed."""
    request.tunnel._channel.write(frames.goaway(0, ErrorCodes.NO_ERROR))


def refuse(request: Requested) -> None:
    request.stream.reset(ErrorCodes.REFUSED_STREAM)


@pytest.mark.parametrize("unprocessed", [goaway, refuse])
def test_what_a_new_tunnel_did_not_process_is_tried_once_more(
    unprocessed: Callable[[Requested], None],
) -> None:
    """P41: a peer that drains just then says so before it answers."""

    async def test() -> None:
        async with far() as f:
            f.behave = lambda request: accept(request) if request.number else unprocessed(request)
            sock, answer = await f.connect()

            assert answer == SUCCEEDED
            assert [request.number for request in f.requests] == [0, 1]
            sock.close()

    run(test())


@pytest.mark.parametrize("unprocessed", [goaway, refuse])
def test_what_is_never_processed_is_tried_twice(unprocessed: Callable[[Requested], None]) -> None:
    async def test() -> None:
        async with far() as f:
            f.behave = unprocessed
            sock, answer = await f.connect()

            assert answer == reply(Reply.GENERAL_FAILURE)
            assert [request.number for request in f.requests] == [0, 1]
            sock.close()

    run(test())


def test_an_answer_that_is_a_reset_is_not_tried_again() -> None:
    """The far proxy has looked at the request: another tunnel would bring the same."""

    async def test() -> None:
        async with far() as f:
            f.behave = lambda request: request.stream.reset(ErrorCodes.CONNECT_ERROR)
            sock, answer = await f.connect()

            assert answer == reply(Reply.GENERAL_FAILURE)
            assert len(f.requests) == 1
            sock.close()

    run(test())


@pytest.mark.parametrize("together", [1, 5])
def test_a_tunnel_that_is_reset_before_it_carried_anything_is_tried_once_more(together: int) -> None:
    """P11: the far proxy is killed as it starts; neither the opener nor those who wait for it notice."""

    async def test() -> None:
        async with far() as f:
            f.greet = lambda number: number > 0
            f.shake_hands.clear()
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(f.connect()) for _ in range(together)]
                await until(partial(f.waits, together - 1))
                f.shake_hands.set()
            answers = [task.result() for task in asking]

            assert [answer for _, answer in answers] == [SUCCEEDED] * together
            assert f.taken == 2
            for sock, _ in answers:
                sock.close()

    run(test())


def test_a_tunnel_that_is_always_reset_fails_all_who_wait_for_it() -> None:
    """P11: after a bounded number of attempts, however many wait."""

    async def test() -> None:
        async with far() as f:
            f.greet = lambda _: False
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(f.connect()) for _ in range(20)]
            answers = [task.result() for task in asking]

            assert [answer for _, answer in answers] == [reply(Reply.GENERAL_FAILURE)] * 20
            assert f.taken <= 8
            assert "0 tunnels, 0 opening, 0 streams, 0 waiting" in repr(f.pod.pool)
            for sock, _ in answers:
                sock.close()

    run(test())


# An app that does not wait.


ENDS: dict[str, Callable[[socket.socket], None]] = {"RST": reset, "FIN": socket.socket.close}


@pytest.mark.parametrize("end", ENDS)
def test_an_app_that_leaves_before_the_answer_takes_its_stream_along(end: str) -> None:
    """P41: noticed within a second, long before the answer or its limit."""

    async def test() -> None:
        async with far() as f:
            f.behave = ignore
            sock = await f.app_that_asked()
            await until(lambda: f.requests)
            ENDS[end](sock)
            (record,) = await f.records(1)
            await until(lambda: f.requests[0].stream.lost)

            assert record.outcome is Outcome.FAILED
            assert "app left before it was connected" in (record.error or "")
            assert "0 opening, 0 streams, 0 waiting" in repr(f.pod.pool)
            assert len(f.pod.tasks) == 0

    run(test())


@pytest.mark.parametrize("end", ENDS)
def test_an_app_that_leaves_during_the_handshake_hands_over_to_one_that_waits(end: str) -> None:
    """P41: of two that left, one was opening and one waited; the third gets its tunnel."""

    async def test() -> None:
        async with far() as f:
            f.shake_hands.clear()
            socks = []
            for waiting in range(3):
                socks.append(await f.app_that_asked())
                await until(partial(f.waits, waiting))
            for sock in socks[:2]:
                ENDS[end](sock)
            await f.records(2)
            f.shake_hands.set()
            assert await receive_exactly(socks[2], 10) == SUCCEEDED

            assert [request.stream.lost for request in f.requests][-1:] == [False]
            assert len(f.pod.tasks) == 1
            socks[2].close()

    run(test())
