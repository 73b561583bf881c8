"""What processes used: real readings of a real process, and differences of readings."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.evidence.sources import cpu
from harness.evidence.sources.cpu import Component, Meter

SPIN = """
import sys, time
print('up', flush=True)
for line in sys.stdin:
    end = time.process_time() + 0.05
    while time.process_time() < end: pass
    print('done', flush=True)
"""
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN!r}])"


@pytest.fixture(params=[SPIN, PARENT], ids=["alone", "in a child"])
def spinner(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that uses 50 ms of CPU for each line, itself or through a child."""
    with subprocess.Popen(
        [sys.executable, "-c", request.param], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _spend(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    print("go", file=process.stdin, flush=True)
    assert process.stdout.readline() == "done\n"


def test_a_stage_is_charged_what_its_process_and_its_children_used(spinner: subprocess.Popen[str]) -> None:
    meter = Meter({Component.BACKEND: [spinner.pid]})
    before = meter.sample()
    _spend(spinner)
    documents = {cpu.NAME: cpu.collect({"rate": (before, meter.sample())}, {})}

    used = cpu.read(documents).stages["rate"].components[Component.BACKEND]
    assert 0.05e9 <= used.cpu_ns < 0.09e9
    assert used.switches >= 1  # it had waited for the line; for the next one, perhaps not yet
    assert used.rss_bytes > 1_000_000
    assert used.peak_bytes >= used.rss_bytes


def test_a_process_that_is_gone_counts_for_nothing() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    read = Meter({Component.BACKEND: [ended.pid]}).sample()["components"]["backend"]

    assert set(read.values()) == {0}


def test_a_reading_costs_milliseconds(spinner: subprocess.Popen[str]) -> None:
    # Not of this process: how many threads and children it has is up to the tests before.
    meter = Meter({component: [spinner.pid] for component in Component})

    def taken_s() -> float:
        begin = time.thread_time()
        meter.sample()
        return time.thread_time() - begin

    # The least of some: another process on the core takes its caches as well.
    assert min(taken_s() for _ in range(10)) < 0.02


@pytest.fixture(params=["schedstat", "children"])
def lacking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel without one of the files that it may lack."""
    name: str = request.param
    usual = cpu._read

    def read(path: str) -> bytes:
        if path.endswith(f"/{name}"):
            raise FileNotFoundError(path)
        return usual(path)

    monkeypatch.setattr(cpu, "_read", read)
    question = {"schedstat": "_accounts_waiting", "children": "_lists_children"}[name]
    monkeypatch.setattr(cpu, question, lambda: False)
    return name


def test_what_the_kernel_does_not_account_is_not_known_and_the_rest_is(
    lacking: str, spinner: subprocess.Popen[str]
) -> None:
    """S3: all switches were 0 where schedstat is absent, and children need CONFIG_PROC_CHILDREN."""
    meter = Meter({Component.BACKEND: [spinner.pid]})
    before = meter.sample()
    _spend(spinner)
    documents = {cpu.NAME: cpu.collect({"rate": (before, meter.sample())}, {})}

    found = cpu.read(documents)
    used = found.stages["rate"].components[Component.BACKEND]
    assert 0.05e9 <= used.cpu_ns < 0.09e9
    assert used.switches >= 1
    assert (used.waited_ns is None) == (lacking == "schedstat")
    assert bool(found.unsaid) == (lacking == "schedstat")


def test_what_one_stage_does_not_tell_is_not_known_of_both() -> None:
    known = cpu.Usage(**{**dict.fromkeys(cpu._FIELDS, 1), "waited_ns": 5})

    assert known.since(known).waited_ns == 0
    assert known.since(replace(known, waited_ns=None)).waited_ns is None
    assert replace(known, waited_ns=None).since(known).waited_ns is None
