"""Asking several members at once, and what is left when one of them refuses or is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.control import ControlError, Refused, Reply, Unreachable, serve
from harness.testbed import channels
from harness.testbed.channels import Channels, ask, in_turn


def _member(path: Path) -> Path:
    """Somebody who repeats numbers and refuses odd ones."""

    def repeat(request: dict[str, Any]) -> Reply:
        if request["number"] % 2:
            raise Refused(f"{request['number']} is odd")
        return Reply(document=request)

    threading.Thread(target=serve, args=(path, {"repeat": repeat}), daemon=True).start()
    return path


@pytest.fixture
def opened() -> Iterator[Channels]:
    made = Channels(dict)
    yield made
    made.close()


def test_answers_come_under_the_names_of_those_asked(tmp_path: Path, opened: Channels) -> None:
    members = {name: opened.to(_member(tmp_path / f"{name}.sock")) for name in "ab"}

    assert {"a": {"number": 2}, "b": {"number": 2}} == {
        name: reply.document for name, reply in ask(members, "repeat", number=2).items()
    }


def test_one_channel_answers_several_requests_in_their_order(tmp_path: Path, opened: Channels) -> None:
    one, two = (opened.to(_member(tmp_path / f"{name}.sock")) for name in "ab")

    replies = in_turn(
        [(one, "repeat", {"number": 2}), (two, "repeat", {"number": 4}), (one, "repeat", {"number": 6})]
    )

    assert [2, 4, 6] == [reply.document["number"] for reply in replies]


def test_a_refusal_leaves_no_answer_behind(tmp_path: Path, opened: Channels) -> None:
    """Or the next question would get this one's answer."""
    one, two = (opened.to(_member(tmp_path / f"{name}.sock")) for name in "ab")

    with pytest.raises(ControlError, match="3 is odd"):
        in_turn(
            [(one, "repeat", {"number": 3}), (two, "repeat", {"number": 2}), (one, "repeat", {"number": 4})]
        )

    assert [8, 8] == [
        reply.document["number"] for reply in ask({1: one, 2: two}, "repeat", number=8).values()
    ]


def test_a_forgotten_channel_is_opened_anew(tmp_path: Path, opened: Channels) -> None:
    path = _member(tmp_path / "a.sock")
    before = opened.to(path)

    opened.forget(path)
    opened.forget(tmp_path / "never.sock")

    assert opened.to(path) is not before
    assert ask({"a": opened.to(path)}, "repeat", number=2)["a"].document == {"number": 2}


def test_nobody_waits_for_a_socket_once_a_member_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LOOK_S", 0.01)

    with pytest.raises(Unreachable, match=r"never\.sock"):
        Channels(lambda: {"ztunnel-1-a": 1}).to(tmp_path / "never.sock")
