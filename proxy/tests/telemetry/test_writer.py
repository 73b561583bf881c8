"""Log lines never hold up whoever writes them, and none is lost that could be written (P32)."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxy.telemetry import writer
from proxy.telemetry.writer import ROOM, Writer


def told(count: int) -> str:
    return f"dropped {count}\n"


@contextmanager
def pipe() -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A reader's descriptor, and a stream to it."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        try:
            yield read, stream
        finally:
            os.close(read)


def everything(descriptor: int) -> list[str]:
    """Lines until the end."""
    return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b"")).decode().splitlines()


def test_lines_come_whole_and_in_order() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        lines = Writer(stream, told)
        written = [f"{number} {'x' * (number % 6000)}" for number in range(300)]
        reader: list[list[str]] = []
        thread = threading.Thread(target=lambda: reader.append(everything(read)))
        thread.start()
        for line in written:
            lines.put(f"{line}\n")
        lines.close()
    thread.join()
    os.close(read)

    assert reader == [written]
    assert lines.dropped == 0


def test_a_reader_that_stalls_holds_nobody_up_and_what_is_lost_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P32: the queue is bounded, its oldest lines are kept, the others counted."""
    monkeypatch.setattr(writer, "ROOM", 100)
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        lines = Writer(stream, told)
        began = time.monotonic()
        for number in range(1000):
            lines.put(f"{number} {'x' * 1000}\n")
        took_s = time.monotonic() - began
        dropped = lines.dropped
        found: list[list[str]] = []
        thread = threading.Thread(target=lambda: found.append(everything(read)))
        thread.start()
        lines.close()
    thread.join()
    os.close(read)

    assert took_s < 1
    assert dropped > 500
    *kept, last = found[0]
    assert [line.split()[0] for line in kept] == [str(number) for number in range(1000 - dropped)]
    assert last == f"dropped {dropped}"


def test_the_end_does_not_wait_for_a_reader_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """P32."""
    monkeypatch.setattr(writer, "STALL_S", 0.05)
    with pipe() as (read, stream):
        lines = Writer(stream, told)
        for _ in range(ROOM):
            lines.put("x" * 100 + "\n")
        began = time.monotonic()
        lines.close()
        assert time.monotonic() - began < 5
        os.set_blocking(read, False)
        while lines._thread.is_alive():  # let it go, for the stream to be closed
            try:
                os.read(read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.001)


def test_a_reader_that_has_gone_ends_nothing() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        lines = Writer(stream, told)
        os.close(read)
        lines.put("lost\n")
        lines.close()

    assert lines.dropped == 1


def test_what_is_said_after_the_end_is_written_at_once() -> None:
    stream = io.StringIO()
    lines = Writer(stream, told)
    lines.close()
    lines.put("last\n")

    assert stream.getvalue() == "last\n"


def test_a_stream_without_a_descriptor_is_written_to() -> None:
    stream = io.StringIO()
    lines = Writer(stream, told)
    lines.put("one\n")
    lines.close()

    assert stream.getvalue() == "one\n"


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    """A parent may have set it so; nothing is lost for that."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    found: list[list[str]] = []
    with os.fdopen(write, "w") as stream:
        lines = Writer(stream, told)
        for number in range(2000):
            lines.put(f"{number} {'x' * 100}\n")
        thread = threading.Thread(target=lambda: found.append(everything(read)))
        thread.start()
        lines.close()
    thread.join()
    os.close(read)

    assert [line.split()[0] for line in found[0]] == [str(number) for number in range(2000)]


LOGGING = """
import logging, os, signal, sys, time
from proxy.config import LogFormat
from proxy.telemetry import logs
logs.configure(LogFormat.PLAIN, (("", logging.INFO),))
for number in range(3000):
    logging.getLogger("proxy").info("line %d", number)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("logging.shutdown(); os._exit(4)", 4),
    ],
    ids=["returns", "exits", "raises", "second-signal"],
)
def test_an_orderly_end_loses_nothing(end: str, code: int) -> None:
    """P32: all that was logged before comes, in order."""
    done = subprocess.run(
        [sys.executable, "-c", LOGGING.format(end=end)], capture_output=True, text=True, check=False
    )

    lines = [line for line in done.stderr.splitlines() if "\tline " in line]
    assert done.returncode == code
    assert [int(line.rpartition(" ")[2]) for line in lines] == list(range(3000))


def test_an_end_beside_a_stalled_reader_is_an_ordinary_one() -> None:
    """P32: a thread that is held in a write does not abort the interpreter."""
    command = [sys.executable, "-c", LOGGING.format(end="")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert process.wait(20) == 0


def test_a_kill_loses_only_what_waited() -> None:
    """P32: lines are on their way within milliseconds."""
    end = "time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run(
        [sys.executable, "-c", LOGGING.format(end=end)], capture_output=True, text=True, check=False
    )

    assert done.returncode == -signal.SIGKILL
    assert done.stderr.count("\tline ") == 3000
