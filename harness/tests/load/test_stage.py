"""A stage before its window: users that do not get ready."""

from __future__ import annotations

import pytest

from harness.control import Refused
from harness.load.stage import Recorder, Stage
from harness.load.wire import Target


class Impatient(Stage):
    """Waits hardly at all."""

    fields = ("start_ns",)
    ready_s = 0.05


def test_users_that_do_not_get_ready_are_told_by_how_far_they_got() -> None:
    """One of three is ready, one got stuck as it connected, one was never started."""
    target = Target(address="127.0.0.1", port=9, pod="", node="")
    stage = Impatient(Recorder(), target=target, users=3, seconds=1, rows=1)

    def start_users() -> None:
        for _ in range(2):
            stage.number()
            stage.opened += 1
        stage.verification.errors["ECONNRESET"] += 1
        stage.ready()

    with pytest.raises(Refused) as refused:
        stage.gather(start_users)

    assert refused.value.kind == "not-ready"
    assert str(refused.value) == (
        "1 of 3 users got ready within 0.05 s: 2 had started, 2 had begun to connect; errors: 1 ECONNRESET"
    )
