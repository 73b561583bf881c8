"""Ctrl-C once, and again; and in what may not be broken off."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from harness.interrupts import SIGNALS, Interrupted, Interrupts, interrupts, uninterrupted

MOMENTS = 50
STEPS = 40
STEP_S = 0.0002


def test_first_signal_raises_and_later_ones_only_hasten() -> None:
    """F60."""
    with interrupts() as asked:
        with pytest.raises(Interrupted) as raised:
            os.kill(os.getpid(), signal.SIGINT)
        assert not asked.hastened

        os.kill(os.getpid(), signal.SIGINT)

        assert asked.hastened
        assert raised.value.exit_code == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_exit_code_names_the_signal(number: signal.Signals, code: int) -> None:
    """F61."""
    with interrupts(), pytest.raises(Interrupted) as raised:
        os.kill(os.getpid(), number)

    assert raised.value.exit_code == code


def test_former_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    with interrupts():
        pass

    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_ignored_stays_ignored() -> None:
    """As `nohup` has it with SIGHUP."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)

    assert asked.first == 0


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", SIGNALS)
def test_uninterrupted_ends_at_whatever_moment_a_signal_arrives(number: signal.Signals, times: int) -> None:
    """D7: sent by a thread that has the signals unmasked, as those of numpy and duckdb have."""
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    broken_off = []
    for _ in range(MOMENTS):
        moment = moments.uniform(0, STEPS * STEP_S)
        done, raised = _take_down(number, times, moment)
        if done != STEPS or not raised:
            broken_off.append((moment, done, raised))

    assert broken_off == [], f"of {MOMENTS} (seed {seed})"


def _take_down(number: int, times: int, moment: float) -> tuple[int, bool]:
    """How many steps were done, and whether the signal was raised after all."""
    done: list[int] = []
    begun = threading.Event()

    @uninterrupted
    def take_down() -> None:
        begun.set()
        for step in range(STEPS):
            done.append(step)
            time.sleep(STEP_S)

    def send() -> None:
        begun.wait()
        time.sleep(moment)
        for _ in range(times):
            os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    raised = False
    with interrupts():
        try:
            sender.start()
            take_down()
            sender.join()
        except Interrupted:
            raised = True
            sender.join()
    return len(done), raised


def test_uninterrupted_has_no_gap_at_any_instruction() -> None:
    """The handler is called before each instruction in turn, from the call to the return."""
    at, ended = 0, False
    while not ended:
        done, ended = _interrupted_at(at)
        assert done == ["first", "last"], f"at instruction {at}"
        at += 1

    assert at > 10


def _interrupted_at(instruction: int) -> tuple[list[str], bool]:
    """What a function did that was interrupted there, and whether it had ended before."""
    done: list[str] = []
    state = Interrupts()
    left = instruction

    @uninterrupted
    def take_down() -> None:
        done.append("first")
        done.append("last")

    def look(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_globals.get("__name__") in {__name__, "harness.interrupts"}:
            if left == 0:
                left -= 1
                sys.settrace(None)
                state.handle(signal.SIGINT, frame)
            left -= 1
        return look

    former = sys.gettrace()
    sys.settrace(look)
    try:
        take_down()
    except Interrupted:
        pass
    finally:
        sys.settrace(former)
    return done, left >= 0


def test_an_error_of_what_was_not_broken_off_is_told_with_the_signal() -> None:
    @uninterrupted
    def take_down() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError("the link is still there")

    with interrupts(), pytest.raises(Interrupted, match="SIGINT; before that: the link is still there"):
        take_down()


def test_the_outermost_uninterrupted_function_ends_first() -> None:
    done = []

    @uninterrupted
    def inner() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("inner")

    @uninterrupted
    def outer() -> None:
        inner()
        done.append("outer")

    with interrupts(), pytest.raises(Interrupted):
        outer()

    assert done == ["inner", "outer"]


@pytest.mark.parametrize("number", SIGNALS)
def test_every_verb_ends_with_the_signals_code(number: signal.Signals) -> None:
    """From the command line: 130 for Ctrl-C."""
    with subprocess.Popen(
        ["env", "--default-signal", sys.executable, "-c", VERB],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)

    assert process.returncode == 128 + number
    assert said.decode() == f"ambientbench: interrupted by {number.name}\n"


VERB = """
import sys, time
import harness.cli.status, harness.cli
def command() -> None:
    "Wait."
    print("waits", flush=True)
    time.sleep(60)
harness.cli.status.command = command
sys.argv = ["ambientbench", "status"]
harness.cli.main()
"""
