"""A TCP socket as one end of a relay."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from typing import Protocol

from proxy.net import options
from proxy.net.resets import ResetWatch

log = logging.getLogger("proxy.relay")

_CRASHED = "relay failed unexpectedly"


class Owner(Protocol):
    """Who is told what happens at an endpoint."""

    def on_readable(self, endpoint: Endpoint) -> None:
        """`receive` has something, or the end."""

    def on_gone(self, endpoint: Endpoint, length: int) -> None:
        """`length` bytes of the queue have left."""

    def on_finished(self, endpoint: Endpoint) -> None:
        """The queue is empty and FIN is on its way, after `finish`."""

    def on_failed(self, endpoint: Endpoint, error: OSError) -> None:
        """The socket failed; it is of no more use."""

    def on_crashed(self) -> None:
        """One of these raised what nobody foresaw, which is in the log: end."""


class Endpoint:
    """A connected, non-blocking socket: what it cannot take at once is queued, by the owner's bound.

    The socket resets when closed or when this process dies, until `close(clean=True)`. Its own reset is
    heard of whether it is read or not: what came before it is passed on, unless nobody reads.
    """

    __slots__ = (
        "_error",
        "_fd",
        "_loop",
        "_owner",
        "_queue",
        "_reading",
        "_resets",
        "_sock",
        "_writing",
        "finishing",
        "received_end",
        "sent_end",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, owner: Owner) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._owner = owner
        self._queue = bytearray()
        self._reading = False
        self._writing = False
        self._error: OSError | None = None
        """Why the socket is of no more use than to be read to its end."""
        self.finishing = False
        """`finish` was called."""
        self.sent_end = False
        """FIN is on its way."""
        self.received_end = False
        """The other side's FIN came."""
        options.reset_on_close(sock, on=True)
        self._resets = ResetWatch.of(loop)

    @property
    def queued(self) -> int:
        """Bytes that the socket has not taken yet."""
        return len(self._queue)

    def receive(self, buffer: memoryview) -> int | None:
        """Bytes read into `buffer`; 0 is the end; None: nothing now, or it failed and the owner knows."""
        try:
            length = self._sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            if self._error is not None:
                self._fail(self._error)
            return None
        except OSError as exc:
            self._fail(exc)
            return None
        if not length:
            if self._error is not None:
                self._fail(self._error)  # no FIN: the kernel has told of the reset once, and not to us
                return None
            self.received_end = True
            self.pause()
        return length

    def send(self, data: memoryview | bytearray) -> int:
        """Pass bytes on; those that left at once are returned, the rest is copied into the queue."""
        sent = 0
        if not self._queue:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as exc:
                self._break(exc)
                return 0
            if sent == len(data):
                return sent
        self._queue += data[sent:]
        self._write_when_possible()
        return sent

    def finish(self) -> None:
        """Send FIN behind what is queued."""
        self.finishing = True
        if not self._queue:
            self._send_end()

    def start(self) -> None:
        """Start `on_readable`, and to watch for a reset."""
        self.resume()
        if self._fd >= 0:
            self._resets.add(self._fd, self._on_reset)

    def pause(self) -> None:
        """Stop `on_readable`."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Start `on_readable`, until the end came."""
        if not self._reading and not self.received_end and self._fd >= 0:
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def close(self, *, clean: bool) -> None:
        """Let go of the socket: without a trace when both directions have ended, else by RST."""
        if self._fd < 0:
            return
        self.pause()
        self._stop_writing()
        self._resets.discard(self._fd)
        self._queue.clear()
        if clean:
            options.reset_on_close(self._sock, on=False)
        self._sock.close()
        self._fd = -1
        self._owner = _NOBODY  # who owns us: what refers to itself is freed by the collector alone

    def _on_readable(self) -> None:
        try:
            self._owner.on_readable(self)
        except Exception:
            log.exception(_CRASHED)
            self._owner.on_crashed()

    def _on_writable(self) -> None:
        try:
            self._send_queued()
        except Exception:
            log.exception(_CRASHED)
            self._owner.on_crashed()

    def _send_queued(self) -> None:
        try:
            sent = self._sock.send(self._queue)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._break(exc)
            return
        del self._queue[:sent]
        if not self._queue:
            self._stop_writing()
        self._owner.on_gone(self, sent)
        if self.finishing and not self._queue and self._fd >= 0:
            self._send_end()

    def _send_end(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            self._fail(exc)
            return
        self.sent_end = True
        self._owner.on_finished(self)

    def _write_when_possible(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _on_reset(self) -> None:
        if self._reading:
            self._break(OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        else:
            # Nobody reads, so that what came before it will not leave either; this takes the error.
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            self._fail(self._error or OSError(code, os.strerror(code)))

    def _break(self, error: OSError) -> None:
        """The socket is of no more use, except that what came from it before may not have been read yet."""
        if self._error is None:
            self._error = error
            self._queue.clear()
            self._stop_writing()
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Read to the end, with a turn for others in between."""
        if self._fd < 0 or self._error is None:
            return
        if self._reading:
            self._on_readable()
            self._loop.call_soon(self._read_on)
        else:
            self._fail(self._error)

    def _fail(self, error: OSError) -> None:
        self.pause()
        self._stop_writing()
        self._owner.on_failed(self, error)


class _Nobody:
    """Owns what is closed; there is nothing left to tell."""

    def on_readable(self, endpoint: Endpoint) -> None: ...

    def on_gone(self, endpoint: Endpoint, length: int) -> None: ...

    def on_finished(self, endpoint: Endpoint) -> None: ...

    def on_failed(self, endpoint: Endpoint, error: OSError) -> None: ...

    def on_crashed(self) -> None: ...


_NOBODY = _Nobody()
