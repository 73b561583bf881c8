"""Calls in other namespaces: results in order, failures by name, and nothing left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from harness.agent.workers import FRESH, PRELOAD, Work, WorkError, Workers
from harness.tests.agent.conftest import MakeNamespace

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Processes that enter namespaces, for this module."""
    with Workers() as started:
        yield started


def call(path: str, function: str, namespace: str = "pod-x", **arguments: object) -> Work:
    return Work(namespace=namespace, path=path, function=f"{__name__}:{function}", arguments=arguments)


# What follows is called inside namespaces


def where() -> tuple[int, int]:
    return Path("/proc/self/ns/net").stat().st_ino, os.getpid()


def echo(value: object) -> object:
    return value


def fail(value: object) -> None:
    raise LookupError(f"no {value} here")


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave() -> None:
    os._exit(3)


# The tests


def test_a_call_runs_inside_its_namespace_in_a_process_that_is_kept(
    workers: Workers, make_namespace: MakeNamespace
) -> None:
    paths = [make_namespace(), make_namespace()]
    first = workers.run([call(path, "where") for path in paths])
    again = workers.run([call(path, "where") for path in paths])

    assert [Path(path).stat().st_ino for path in paths] == [inode for inode, _ in first]
    assert first == again
    assert 2 == len({pid for _, pid in first})


def test_a_fresh_namespace_is_new_each_time(workers: Workers) -> None:
    seen = workers.run([call(FRESH, "where"), call(FRESH, "where")])

    assert 3 == len({Path("/proc/self/ns/net").stat().st_ino, *(inode for inode, _ in seen)})


def test_results_come_in_the_order_of_the_calls(workers: Workers, make_namespace: MakeNamespace) -> None:
    paths = [make_namespace() for _ in range(5)]

    assert list(range(5)) == workers.run([call(path, "echo", value=n) for n, path in enumerate(paths)])


def test_no_calls_no_results(workers: Workers) -> None:
    assert [] == workers.run([])


def test_what_fails_is_named_and_the_rest_is_done(workers: Workers, make_namespace: MakeNamespace) -> None:
    good, bad = make_namespace(), make_namespace()
    works = [call(good, "echo", value=1), call(bad, "fail", "pod-bad", value="rule")]

    with pytest.raises(WorkError, match=r"^pod-bad: LookupError: no rule here$"):
        workers.run(works)
    assert [2] == workers.run([call(good, "echo", value=2)])


def test_a_namespace_that_is_gone_is_named(workers: Workers) -> None:
    with pytest.raises(WorkError, match="pod-x: /proc/0/ns/net: No such file"):
        workers.run([call("/proc/0/ns/net", "where")])


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [("die", {"number": int(signal.SIGKILL)}, "signal 9"), ("leave", {}, "exit 3")],
)
def test_a_process_that_dies_is_reported_and_replaced(
    function: str,
    arguments: dict[str, object],
    said: str,
    workers: Workers,
    make_namespace: MakeNamespace,
) -> None:
    path = make_namespace()

    with pytest.raises(WorkError, match=f"pod-x: its process ended with {said}"):
        workers.run([call(path, function, "pod-x", **arguments)])
    assert [1] == workers.run([call(path, "echo", value=1)])


def test_closing_ends_every_process(make_namespace: MakeNamespace) -> None:
    workers = Workers()
    [(_, pid)] = workers.run([call(make_namespace(), "where")])
    workers.close()

    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(WorkError, match="worker process is gone"):
        workers.run([call(FRESH, "where")])


def test_what_is_loaded_beforehand_exists() -> None:
    for name in PRELOAD:
        import_module(name)
