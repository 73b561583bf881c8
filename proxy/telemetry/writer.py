"""Lines to a stream that may stall, written by a thread: whoever logs waits for nobody.

Source: ztunnel src/telemetry/nonblocking.rs has as many lines in its queue; there a full one holds traffic
up, here the lines that find no room are counted.
"""

from __future__ import annotations

import io
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

ROOM = 10_000
"""Lines that may wait: a second of them under the heaviest load, 4 MB."""
GATHER_S = 0.02
"""How long a line may wait for more to come: the thread asks for the interpreter that seldom."""
WRITE_CHARACTERS = 64 * 1024
"""About what is written at once, which is what a pipe holds (pipe(7)): after each write the thread asks for
the interpreter again, and traffic waits for as long as the kernel then lets somebody else run."""
STALL_S = 1.0
"""How long the end waits for a reader that reads nothing at all."""


class Writer:
    """Keeps lines in their order. Owns a thread, which `close` ends."""

    def __init__(self, stream: TextIO, say_dropped: Callable[[int], str]) -> None:
        """`say_dropped` makes the line that tells how many found no room."""
        self.dropped = 0
        """Lines that nobody will read."""
        self._write = _writing_to(stream)
        self._say_dropped = say_dropped
        self._told = 0
        self._written = 0
        self._lines: deque[str] = deque()
        self._there_are = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log lines", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Write a line, with its end, as soon as there is time."""
        if self._closing and not self._thread.is_alive():
            self._put_out(line)  # what the end itself has to say
            return
        if len(self._lines) >= ROOM:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._there_are.is_set():
            self._there_are.set()

    def close(self) -> None:
        """Wait until all are written, but not for a reader that does not read."""
        self._closing = True
        self._there_are.set()
        written = -1
        while self._thread.is_alive() and written != self._written:
            written = self._written
            self._thread.join(STALL_S)

    def _run(self) -> None:
        while not (self._closing and not self._lines):
            self._there_are.wait()
            self._there_are.clear()
            if not self._closing:
                time.sleep(GATHER_S)
            self._write_all()

    def _write_all(self) -> None:
        lines = self._lines
        while lines:
            gathered, length = [], 0
            while lines and length < WRITE_CHARACTERS:
                line = lines.popleft()
                gathered.append(line)
                length += len(line)
            self._put_out("".join(gathered))
        if self.dropped > self._told:
            self._told, more = self.dropped, self.dropped - self._told
            self._put_out(self._say_dropped(more))

    def _put_out(self, text: str) -> None:
        try:
            self._write(text)
        except (OSError, ValueError):
            self.dropped += text.count("\n")  # the reader has gone, or the stream is closed
            self._told = self.dropped
        self._written += 1


def _writing_to(stream: TextIO) -> Callable[[str], None]:
    """How to write whole texts. Past the stream's own lock where it can be: to end while it is held would
    end the interpreter with an abort."""
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:

        def write(text: str) -> None:
            stream.write(text)
            stream.flush()
    else:

        def write(text: str) -> None:
            rest = memoryview(text.encode("utf-8", "backslashreplace"))
            while rest:
                try:
                    rest = rest[os.write(descriptor, rest) :]
                except BlockingIOError:
                    select.select([], [descriptor], [])

    return write
