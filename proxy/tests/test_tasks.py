"""P01: what one task raises ends no other, and background work is started anew."""

from __future__ import annotations

import ast
import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import proxy
from proxy.tasks import BACKOFF_CAP_S, Supervisor, Tasks
from proxy.telemetry.stats import Stats
from proxy.tests.sockets import run, until

Story = Callable[["Setup"], Awaitable[None]]


class Setup:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.stats = Stats()
        self.slept: list[float] = []
        self.now_s = 0.0
        self.supervisor = Supervisor(group, self.stats, now=lambda: self.now_s, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def supervised(story: Story) -> None:
    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            await story(Setup(group))

    run(test())


class Failing:
    """Work that fails some times, then waits to be cancelled."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.starts = 0
        self.cancelled = False

    async def __call__(self) -> None:
        self.starts += 1
        if self.failures:
            raise self.failures.pop(0)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled = True


def test_failed_work_is_told_counted_and_started_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def story(setup: Setup) -> None:
        work = Failing(ZeroDivisionError(), ExceptionGroup("", [ValueError()]), RecursionError())
        task = setup.supervisor.start(work, name="some work")
        other = setup.supervisor.start(Failing(), name="other work")
        await until(lambda: work.starts == 4)
        assert setup.stats.background_failures == 3
        assert setup.slept == [0.1, 0.2, 0.4]
        assert setup.supervisor.running == ["other work", "some work"]
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert work.cancelled
        assert setup.supervisor.running == ["other work"]
        other.cancel()

    supervised(story)

    told = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in told][:1] == [
        "background task failed task=some work again_in=0.1s"
    ]
    assert [record.exc_info[0] for record in told if record.exc_info] == [
        ZeroDivisionError,
        ExceptionGroup,
        RecursionError,
    ]


def test_backoff_has_a_cap_and_begins_again_after_a_long_run() -> None:
    async def story(setup: Setup) -> None:
        failures = iter([ValueError()] * 13)

        async def work() -> None:
            if len(setup.slept) == 12:
                setup.now_s += BACKOFF_CAP_S + 1
            for failure in failures:
                raise failure

        task = setup.supervisor.start(work, name="work")
        await asyncio.wait([task])
        assert setup.slept[8:] == [25.6, 51.2, BACKOFF_CAP_S, BACKOFF_CAP_S, 0.1]

    supervised(story)


def test_work_that_returns_is_done() -> None:
    async def story(setup: Setup) -> None:
        async def work() -> None:
            return

        await setup.supervisor.start(work, name="work")
        assert setup.supervisor.running == []
        assert setup.stats.background_failures == 0

    supervised(story)


def test_a_cancelled_call_inside_the_work_does_not_end_it() -> None:
    """As gRPC's calls are when their channel is closed: only who cancels the task ends the work."""

    async def story(setup: Setup) -> None:
        work = Failing(asyncio.CancelledError())
        task = setup.supervisor.start(work, name="work")
        await until(lambda: work.starts == 2)
        assert setup.stats.background_failures == 1
        task.cancel()

    supervised(story)


def test_work_may_be_ended_while_it_waits_to_be_started_anew() -> None:
    async def story(setup: Setup) -> None:
        asleep = asyncio.Event()

        async def sleep(_seconds: float) -> None:
            asleep.set()
            await asyncio.get_running_loop().create_future()

        setup.supervisor._sleep = sleep
        task = setup.supervisor.start(Failing(ValueError()), name="work")
        await asleep.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    supervised(story)


def test_a_task_that_fails_ends_neither_its_group_nor_its_pods_other_tasks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with asyncio.TaskGroup() as group:
            tasks, waiting = Tasks(group), Failing()
            tasks.start(waiting(), name="one")
            tasks.start(Failing(ValueError())(), name="two")
            await until(lambda: len(tasks) == 1)
            assert not await tasks.wait(0.001)
            await tasks.cancel()
            assert waiting.cancelled

    with caplog.at_level(logging.ERROR):
        run(test())

    assert [record.getMessage() for record in caplog.records] == ["task failed unexpectedly task=two"]


def test_every_task_has_a_fence() -> None:
    """Tasks are made by those two, or, for the proxy's own ports, by the loop that fences each itself."""
    root = Path(proxy.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"create_task", "ensure_future"}
    }

    assert found == {"tasks.py", "admin/accept.py"}
