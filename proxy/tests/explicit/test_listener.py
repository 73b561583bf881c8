"""SOCKS5 to a mesh service over a real tunnel, all on loopback, without root."""

from __future__ import annotations

import socket

import pytest

from proxy.explicit.socks import Reply, reply
from proxy.telemetry import Flag, Outcome
from proxy.tests.explicit.reach import GREETING, NAME, VIP, name, packed, reach
from proxy.tests.sockets import receive_all, receive_exactly, run, send, until

ALLOW_OTHERS: list[dict[str, object]] = [
    {
        "name": "others",
        "namespace": "ns",
        "scope": "Namespace",
        "action": "Allow",
        "rules": [[[{"principals": [{"Exact": "cluster.local/ns/ns/sa/other"}]}]]],
    }
]


@pytest.mark.parametrize("how", ["name", "upper-case name", "vip", "pod"])
def test_a_mesh_service_is_reached_through_a_tunnel(how: str) -> None:
    async def test() -> None:
        async with reach() as r:
            target, port = {
                "name": (name(NAME), 80),
                "upper-case name": (name(NAME.upper() + "."), 80),
                "vip": (packed(VIP), 80),
                "pod": (packed(r.address), r.app_port),
            }[how]
            sock, answer = await r.ask(target, port)
            with sock:
                await send(sock, b"hello")
                sock.shutdown(socket.SHUT_WR)

                assert (answer, await receive_all(sock)) == (reply(Reply.SUCCEEDED), b"hello")
            await until(lambda: r.client.telemetry.completed and r.server.telemetry.completed)
            (out,), (into,) = r.client.telemetry.completed, r.server.telemetry.completed
            assert (out.outcome, into.outcome) == (Outcome.HBONE, Outcome.HBONE)
            assert str(into.source_identity) == "spiffe://cluster.local/ns/ns/sa/client"
            assert (out.bytes_sent, out.bytes_received) == (5, 5)

    run(test())


def test_bytes_sent_right_behind_the_request_belong_to_the_app() -> None:
    async def test() -> None:
        async with reach() as r:
            with await r.dial() as sock:
                await send(sock, GREETING + b"\5\1\0" + name(NAME) + b"\0\x50" + b"early")
                sock.shutdown(socket.SHUT_WR)

                assert await receive_all(sock) == b"\5\0" + reply(Reply.SUCCEEDED) + b"early"

    run(test())


def test_a_denial_at_the_other_side_is_no_success() -> None:
    async def test() -> None:
        async with reach(policies=ALLOW_OTHERS) as r:
            sock, answer = await r.ask(name(NAME), 80)
            with sock:
                assert answer == reply(Reply.GENERAL_FAILURE)
                assert await receive_all(sock) == b""
            await until(lambda: r.client.telemetry.completed)
            assert r.client.telemetry.completed[0].flag is Flag.DENY

    run(test())


@pytest.mark.parametrize(
    ("target", "port", "code"),
    [
        (packed("127.0.0.1"), 15000, Reply.NOT_ALLOWED),
        (packed("0.0.0.0"), 15000, Reply.NOT_ALLOWED),
        (packed("::1"), 15000, Reply.NOT_ALLOWED),
        (packed("::ffff:127.0.0.1"), 15000, Reply.NOT_ALLOWED),
        (name("localhost"), 15000, Reply.NOT_ALLOWED),
        (packed(VIP), 81, Reply.NOT_ALLOWED),
        (name("bare.ns.svc.cluster.local"), 80, Reply.CONNECTION_REFUSED),
        (name("no-such-name.invalid"), 80, Reply.CONNECTION_REFUSED),
        (name("a" * 70), 80, Reply.CONNECTION_REFUSED),
    ],
)
def test_what_cannot_be_reached_gets_its_reply(target: bytes, port: int, code: Reply) -> None:
    async def test() -> None:
        async with reach() as r:
            sock, answer = await r.ask(target, port)
            with sock:
                assert answer == reply(code)
                assert await receive_all(sock) == b""
            await until(lambda: r.client.telemetry.completed)
            assert r.client.telemetry.completed[0].error

    run(test())


def test_a_call_of_the_socks_listener_itself_is_refused() -> None:
    """P07: on an address of this host that is a workload's, where others may be reached."""

    async def test() -> None:
        async with reach() as r:
            sock, answer = await r.ask(packed(r.address), r.socks_port)
            with sock:
                assert answer == reply(Reply.NOT_ALLOWED)
            await until(lambda: r.client.telemetry.completed)
            assert "self call" in (r.client.telemetry.completed[0].error or "")

    run(test())


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\xff" + bytes(64), b"\5", b""])
def test_junk_ends_alone(junk: bytes) -> None:
    """B75: what is no SOCKS5 gets an end, is recorded once, and the next client is served."""

    async def test() -> None:
        async with reach() as r:
            with await r.dial() as sock:
                await send(sock, junk)
                sock.shutdown(socket.SHUT_WR)
                await until(lambda: r.client.telemetry.completed)
            sock, answer = await r.ask(name(NAME), 80)
            sock.close()

            assert answer == reply(Reply.SUCCEEDED)
            assert r.client.telemetry.completed[0].outcome is Outcome.FAILED

    run(test())


def test_a_silent_client_is_left_at_the_handshakes_deadline() -> None:
    """T15: half a request holds a task no longer than the deadline."""

    async def test() -> None:
        async with reach(handshake_timeout_s=0.2) as r:
            with await r.dial() as sock:
                await send(sock, GREETING + b"\5\1")

                assert await receive_all(sock) == b"\5\0" + reply(Reply.NOT_ALLOWED)
            await until(lambda: r.client.telemetry.completed)
            assert "no SOCKS request in 0.2 s" in str(r.client.telemetry.completed[0].error)

    run(test())


def test_one_client_too_many_is_refused_and_the_others_stay() -> None:
    async def test() -> None:
        async with reach(socks_connections=1) as r:
            first, answer = await r.ask(name(NAME), 80)
            with first, await r.dial() as second:
                assert answer == reply(Reply.SUCCEEDED)
                assert await receive_all(second) == b"\5\xff"
                await send(first, b"still here")
                assert await receive_exactly(first, 10) == b"still here"

    run(test())


def test_nothing_is_guessed_before_the_mesh_is_known() -> None:
    """T64: a name is not resolved, and nothing sent in plaintext, before the first snapshot."""

    async def test() -> None:
        async with reach(with_state=False, readiness_wait_s=0.2) as r:
            sock, answer = await r.ask(packed("192.0.2.1"), 80)
            with sock:
                assert answer == reply(Reply.GENERAL_FAILURE)
            await until(lambda: r.client.telemetry.completed)
            assert "no workload ns/client" in str(r.client.telemetry.completed[0].error)

    run(test())
