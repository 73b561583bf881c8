"""Taking down is never left half-way: real signals, at random moments, sent once and twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from harness.engines.images import REPOSITORY
from harness.interrupts import SIGNALS, Interrupted, interrupts
from harness.testbed import leftovers, testbed
from harness.tests.e2e.beds import standard_bed

ENGINES = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("netns", marks=pytest.mark.netns),
]

MOMENTS = 50
PARTS = 20
PART_S = 0.0005

BED = """
import os, sys, threading, time
from harness.interrupts import Interrupted, interrupts
from harness.tests.e2e.beds import standard_bed

# the kernel gives a signal to any thread that has it unmasked; numpy's and duckdb's are such
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
with interrupts():
    try:
        with standard_bed(sys.argv[1]) as bed:
            print(bed.layout.directory, flush=True)
            sys.stdin.readline()
            begin = time.monotonic()
            print("leaving", flush=True)
        print(time.monotonic() - begin, flush=True)
        time.sleep(60)
    except Interrupted as exc:
        os._exit(exc.exit_code)  # a second signal may come later than this one's end
"""


@contextmanager
def _leaving(engine: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that begins to take its testbed down, and the testbed's folder."""
    with subprocess.Popen(
        ["env", "--default-signal", sys.executable, "-c", BED, engine],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        directory = process.stdout.readline().strip()
        assert directory, process.communicate()[1]
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "leaving\n"
        try:
            yield process, Path(directory)
        finally:
            process.kill()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_take_down_leaves_nothing(engine: str) -> None:
    """D7: each signal, once or twice; the moments are drawn from the time that it takes undisturbed."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    with _leaving(engine) as (process, directory):
        assert process.stdout is not None
        down_s = float(process.stdout.readline())
    for number in SIGNALS:
        moment, times = chance.uniform(0, down_s), chance.choice((1, 2))
        with _leaving(engine) as (process, directory):
            for _ in range(times):
                _send(process, number, moment)
            _, said = process.communicate(timeout=60)
        where = f"{times} x {number.name} after {moment:.3f} of {down_s:.3f} s (seed {seed}): {said}"

        assert process.returncode == 128 + number, where
        assert not directory.exists(), where
        assert directory.name not in {found.run_id for found in leftovers.runs()}, where


@pytest.fixture(scope="module")
def bed() -> testbed.Testbed:
    """One that is not up; it can be entered again and again."""
    return standard_bed("netns")


@pytest.mark.netns
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", SIGNALS)
def test_every_part_is_taken_down_whole(
    monkeypatch: pytest.MonkeyPatch, bed: testbed.Testbed, number: signal.Signals, times: int
) -> None:
    """D7: a testbed of which only the taking down is real."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    gone: list[int] = []

    def take_down(part: int) -> None:
        time.sleep(PART_S)  # what an engine waits for
        gone.append(part)

    def bring_up(_: testbed.Testbed, undo: ExitStack) -> None:
        for part in range(PARTS):
            undo.callback(take_down, part)

    monkeypatch.setattr(testbed.Testbed, "_bring_up", bring_up)
    monkeypatch.setattr(testbed.Testbed, "run_id", "test")
    half_way = []
    for _ in range(MOMENTS):
        gone.clear()
        moment = chance.uniform(0, PARTS * PART_S)
        raised = _interrupted(bed, number, times, moment)
        if len(gone) != PARTS or not raised:
            half_way.append((moment, len(gone), raised))

    assert half_way == [], f"of {MOMENTS} (seed {seed})"


def _interrupted(bed: testbed.Testbed, number: int, times: int, moment: float) -> bool:
    """Leave a testbed; whether the signal that arrived meanwhile was raised in the end."""
    leaving = threading.Event()

    def send() -> None:
        leaving.wait()
        time.sleep(moment)
        for _ in range(times):
            os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with interrupts():
        try:
            with bed:
                leaving.set()
            sender.join()
        except Interrupted:
            return True
        finally:
            sender.join()
    return False


def _send(process: subprocess.Popen[str], number: signal.Signals, after_s: float) -> None:
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
