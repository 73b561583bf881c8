"""The control and the bench socket, asked as the harness asks."""

from __future__ import annotations

import asyncio
import json
import platform
import socket
import ssl
import stat
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from proxy.admin import control
from proxy.admin.accept import accept, unix_listener
from proxy.admin.control import Op, bench_ops, control_ops
from proxy.config import Reuse, SameNode, Settings
from proxy.context import Context, Switches
from proxy.identity.spiffe import SpiffeId
from proxy.listeners.limits import client_limits, server_limits
from proxy.state.store import MeshStore
from proxy.telemetry import ConnectionRecord, Direction, Stats, Telemetry
from proxy.tests.inpod.fakes import FakeIdentities
from proxy.tests.telemetry.test_telemetry import Carrying


def context(stats: Stats | None = None) -> Context:
    return Context(
        settings=Settings(),
        store=MeshStore(),
        identities=FakeIdentities(),  # type: ignore[arg-type]  # a fake
        telemetry=Telemetry(stats or Stats()),
        switches=Switches(Reuse.ON, SameNode.HBONE),
        random=Random(1),
        tasks=None,  # type: ignore[arg-type]  # likewise
    )


def ask(ops: Mapping[str, Op], *requests: object) -> list[dict[str, Any]]:
    async def run() -> list[dict[str, Any]]:
        answers = [
            await control.answer(request if isinstance(request, bytes) else json.dumps(request).encode(), ops)
            for request in requests
        ]
        return [json.loads(line) for line in answers]

    return asyncio.run(run())


def test_hello_says_what_the_proxy_runs_on() -> None:
    (answer,) = ask(control_ops(context(), "uvloop"), {"op": "hello"})

    expected = {"python": platform.python_version(), "tls": ssl.OPENSSL_VERSION, "loop": "uvloop"}
    assert answer == {"ok": expected, "bytes": 0}


def test_stats_is_a_flat_document_with_every_counter() -> None:
    (answer,) = ask(control_ops(context(Stats(tunnels_opened=7)), "uvloop"), {"op": "stats"})

    document = answer["ok"]
    assert answer["bytes"] == 0
    assert document["tunnels_opened"] == 7
    assert (document["loop"], document["reuse"], document["same_node"]) == ("uvloop", "on", "hbone")
    assert document["cpu_ns"] > 0
    assert document["rss_bytes"] > 1_000_000
    assert set(Stats().snapshot()) < set(document)


def test_stats_have_the_bytes_of_connections_that_live() -> None:
    """P06."""
    shared = context()
    item = ConnectionRecord(direction=Direction.OUTBOUND, source_address=(ip_address("10.0.1.2"), 40000))
    shared.telemetry.opened(item)
    item.carrier = Carrying(sent=7, received=9)

    (answer,) = ask(control_ops(shared, "uvloop"), {"op": "stats"})

    assert (answer["ok"]["bytes_sent"], answer["ok"]["bytes_received"]) == (7, 9)


def test_a_journal_is_off_until_asked_for_and_bounded() -> None:
    shared = context()
    record = ConnectionRecord(direction=Direction.OUTBOUND, source_address=(ip_address("10.0.1.2"), 40000))
    shared.telemetry.complete(record)
    ops = control_ops(shared, "asyncio")
    before, opened = ask(ops, {"op": "take-journal"}, {"op": "journal", "room": 4})
    shared.telemetry.complete(replace(record, completed=False))
    taken, empty, *refused = ask(
        ops,
        {"op": "take-journal"},
        {"op": "take-journal"},
        {"op": "journal", "room": 10**9},
        {"op": "journal"},
    )

    assert before["ok"]["rows"] == []
    assert opened["ok"] == {"room": 4}
    assert [len(each["ok"]["rows"]) for each in (taken, empty)] == [1, 0]
    assert (taken["ok"]["lost"], taken["ok"]["open"]) == (0, 0)
    assert all("expected connections to keep" in each["error"]["message"] for each in refused)


def test_configure_turns_switches_and_says_what_is_in_force() -> None:
    shared = context()
    usual = {"streams_per_tunnel": 100, "window_kib": 4096}
    answers = ask(
        control_ops(shared, "asyncio"),
        {"op": "configure", "reuse": "off"},
        {"op": "configure", "same_node": "plaintext"},
        {"op": "configure", "reuse": "sometimes", "same_node": "hbone"},
        {"op": "configure", "resue": "on"},
        {"op": "configure"},
    )

    assert answers[0]["ok"] == {"reuse": "off", "same_node": "hbone", **usual}
    assert answers[1]["ok"] == {"reuse": "off", "same_node": "plaintext", **usual}
    assert "'sometimes'" in answers[2]["error"]["message"]
    assert "unknown switch 'resue'; known: reuse, same_node" in answers[3]["error"]["message"]
    assert answers[4]["ok"] == {"reuse": "off", "same_node": "plaintext", **usual}
    assert shared.switches == Switches(Reuse.OFF, SameNode.PLAINTEXT)


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("streams_per_tunnel", 0),
        ("streams_per_tunnel", "ten"),
        ("streams_per_tunnel", True),
        ("window_kib", 63),
        ("window_kib", 65_537),
        ("window_kib", 64.5),
    ],
)
def test_a_switch_out_of_bounds_is_refused_and_nothing_turned(switch: str, value: object) -> None:
    shared = context()
    (answer,) = ask(control_ops(shared, "asyncio"), {"op": "configure", "reuse": "off", switch: value})

    assert f"{switch} = {value!r}; expected" in answer["error"]["message"]
    assert shared.switches == Switches(Reuse.ON, SameNode.HBONE)


def test_windows_and_streams_are_those_of_tunnels_opened_from_now_on() -> None:
    shared = context()
    ask(control_ops(shared, "asyncio"), {"op": "configure", "streams_per_tunnel": 10, "window_kib": 64})

    assert shared.switches.streams_per_tunnel == 10
    for limits in (client_limits(shared), server_limits(shared)):
        assert (limits.stream_window, limits.connection_window) == (64 << 10, 256 << 10)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (b"{", "malformed"),
        (b"\xff", "malformed"),
        (b"[]", "malformed"),
        ({}, "unknown-op"),
        ({"op": "sabotage"}, "unknown-op"),
        ({"op": ["stats"]}, "unknown-op"),
    ],
)
def test_bad_requests_get_an_error_of_their_kind(request_: object, kind: str) -> None:
    (answer,) = ask(control_ops(context(), "asyncio"), request_)

    assert answer["error"]["kind"] == kind


class Pool:
    """Closes its tunnels some turns of the loop after it was told to."""

    live = 0

    def __init__(self, stats: Stats) -> None:
        self.stats = stats

    def drop_tunnels(self) -> None:
        asyncio.get_running_loop().call_later(0.003, self._gone)

    def retire_outdated(self, source: SpiffeId, context: ssl.SSLContext) -> None:
        raise AssertionError(f"not asked for: {source}, {context}")

    def _gone(self) -> None:
        self.stats.tunnels_outbound = self.stats.tunnels_inbound = 0


def tunnels(answer: dict[str, Any]) -> dict[str, int]:
    """What an answer says of the tunnels."""
    return {name: answer["ok"][name] for name in ("tunnels_outbound", "tunnels_inbound")}


def test_drop_tunnels_answers_when_both_ends_have_none() -> None:
    shared = context(Stats(tunnels_outbound=2, tunnels_inbound=1))
    shared.tunnels.add(Pool(shared.stats))

    before, after = ask(bench_ops(shared), {"op": "nothing"}, {"op": "drop-tunnels"})

    assert tunnels(before) == {"tunnels_outbound": 2, "tunnels_inbound": 1}
    assert tunnels(after) == {"tunnels_outbound": 0, "tunnels_inbound": 0}


def test_drop_tunnels_says_what_is_left_at_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "DROP_TIMEOUT_S", 0.01)

    (answer,) = ask(bench_ops(context(Stats(tunnels_inbound=1))), {"op": "drop-tunnels"})

    assert tunnels(answer) == {"tunnels_outbound": 0, "tunnels_inbound": 1}


def test_bench_operations_tell_what_the_proxy_used_before_and_after_them() -> None:
    first, second = ask(bench_ops(context()), {"op": "drop-tunnels"}, {"op": "nothing"})

    times = [
        answer["ok"][moment]["cpu_ns"]
        for answer in (first, second)
        for moment in ("used_before", "used_after")
    ]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1]


def test_over_a_socket_of_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def converse() -> list[bytes]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            sock.sendall(b'{"op": "nothing"}\n{"op": "no')
            with sock.makefile("rb") as reader:
                first = reader.readline()
                sock.sendall(b'thing"}\n')
                second = reader.readline()
                sock.sendall(b"x" * (3 * control.MAX_LINE))
                try:
                    rest = reader.readline()
                except ConnectionResetError:
                    rest = b""
                return [first, second, rest]

    async def run() -> list[bytes]:
        with unix_listener(path) as listener:
            async with asyncio.TaskGroup() as tasks:
                serve = partial(control.serve, ops=bench_ops(context()))
                server = tasks.create_task(accept(listener, serve))
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                answers = await asyncio.to_thread(converse)
                server.cancel()
        return answers

    path.touch()  # what a killed process left
    *answers, rest = asyncio.run(run())
    none = {"tunnels_outbound": 0, "tunnels_inbound": 0}
    assert [tunnels(json.loads(answer)) for answer in answers] == [none, none]
    assert rest == b""
