"""Socket to socket through pipes, for plaintext: the bytes never leave the kernel. Linux alone."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from time import monotonic_ns
from typing import Final

from proxy.net import options
from proxy.net.resets import ResetWatch
from proxy.relay.outcome import End, Outcome

PIPE_BYTES: Final = 256 * 1024
"""Most bytes under way in one direction, as in a read of `copy`."""
F_SETPIPE_SZ: Final = 1031
"""linux/fcntl.h"""


class SpliceRelay:
    """Carries bytes between two connected sockets, which it owns from here on.

    Back-pressure: a side is not read while its pipe holds anything, so no more than a pipe is under way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, near: socket.socket, far: socket.socket) -> None:
        """Raises OSError, with the sockets as they were, when there are no descriptors for two pipes."""
        self._near, self._far = near, far
        self._over: asyncio.Future[Outcome] = loop.create_future()
        self._up = _Way(loop, near, far, self)
        try:
            self._down = _Way(loop, far, near, self)
        except OSError:
            self._up.close()
            raise
        for sock in (near, far):
            options.reset_on_close(sock, on=True)

    @property
    def sent(self) -> int:
        """Bytes from near to far."""
        return self._up.carried

    @property
    def received(self) -> int:
        """Bytes from far to near."""
        return self._down.carried

    @property
    def first_sent_ns(self) -> int | None:
        """When the first of them came."""
        return self._up.first_ns

    @property
    def first_received_ns(self) -> int | None:
        """When the first of them came."""
        return self._down.first_ns

    @property
    def queued(self) -> int:
        """Bytes that were read and not written yet."""
        return self._up.held + self._down.held

    async def run(self) -> Outcome:
        """Relay until it is over; cancelled, both sides are reset."""
        self._up.start()
        self._down.start()
        try:
            return await self._over
        finally:
            self._close(clean=False)

    def cut(self, reason: str) -> None:
        """End it now, by reset on both sides."""
        self._end(Outcome(End.CUT, reason))

    def on_finished(self) -> None:
        """Over when both directions have ended."""
        if self._up.finished and self._down.finished:
            self._close(clean=True)
            self._end(Outcome(End.CLEAN))

    def on_failed(self, sock: socket.socket, error: OSError) -> None:
        """A reset on one side is a reset on the other."""
        end = End.NEAR_RESET if sock is self._near else End.FAR_RESET
        self._end(Outcome(end, error.strerror or str(error)))

    def _end(self, outcome: Outcome) -> None:
        self._close(clean=False)
        if not self._over.done():
            self._over.set_result(outcome)

    def _close(self, *, clean: bool) -> None:
        self._up.close()
        self._down.close()
        for sock in (self._near, self._far):
            if clean and sock.fileno() >= 0:
                options.reset_on_close(sock, on=False)
            sock.close()


class _Way:
    """One direction: a socket, a pipe, a socket."""

    __slots__ = (
        "_loop",
        "_owner",
        "_pipe",
        "_reading",
        "_resets",
        "_source",
        "_target",
        "_writing",
        "carried",
        "finished",
        "first_ns",
        "held",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        target: socket.socket,
        owner: SpliceRelay,
    ) -> None:
        self._loop = loop
        self._source = source
        self._target = target
        self._owner = owner
        self._resets = ResetWatch.of(loop)
        self._reading = self._writing = False
        self.carried = 0
        """Bytes that came."""
        self.held = 0
        """Bytes in the pipe."""
        self.first_ns: int | None = None
        self.finished = False
        """The source's FIN was passed on."""
        self._pipe: tuple[int, int] | None = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _enlarge(self._pipe[1])

    def start(self) -> None:
        """Read, and watch for a reset."""
        if self._pipe is not None:
            self.resume()
            self._resets.add(self._source.fileno(), self._on_reset)

    def resume(self) -> None:
        """Read."""
        if not self._reading and self._pipe is not None:
            self._reading = True
            self._loop.add_reader(self._source.fileno(), self._on_readable)

    def close(self) -> None:
        """Let go of the pipe, and of the sockets' events."""
        if self._pipe is None:
            return
        self._pause()
        self._stop_writing()
        self._resets.discard(self._source.fileno())
        for fd in self._pipe:
            os.close(fd)
        self._pipe = None

    def _on_reset(self) -> None:
        """The source has failed: what came before it is passed on, unless the target takes no more."""
        if self._pipe is None:
            return
        if self._reading:
            self._on_readable()
            self._loop.call_soon(self._on_reset)
        else:
            code = self._source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            self._owner.on_failed(self._source, OSError(code, os.strerror(code)))

    def _on_readable(self) -> None:
        if self._pipe is None:
            return
        try:
            length = os.splice(self._source.fileno(), self._pipe[1], PIPE_BYTES, flags=os.SPLICE_F_NONBLOCK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._owner.on_failed(self._source, exc)
            return
        if not length:
            self._pause()
            self._finish()
            return
        if self.first_ns is None:
            self.first_ns = monotonic_ns()
        self.carried += length
        self.held = length
        self._write()

    def _write(self) -> None:
        """Empty the pipe, now or when the target takes more."""
        if self._pipe is None:
            return
        try:
            while self.held:
                self.held -= os.splice(
                    self._pipe[0], self._target.fileno(), self.held, flags=os.SPLICE_F_NONBLOCK
                )
        except (BlockingIOError, InterruptedError):
            self._pause()
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._target.fileno(), self._write)
            return
        except OSError as exc:
            self._owner.on_failed(self._target, exc)
            return
        self._stop_writing()
        self.resume()

    def _finish(self) -> None:
        try:
            self._target.shutdown(socket.SHUT_WR)
        except OSError as exc:
            self._owner.on_failed(self._target, exc)
            return
        self.finished = True
        self._owner.on_finished()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._source.fileno())

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._target.fileno())


def _enlarge(pipe: int) -> None:
    """An ordinary user may have used up his share of large pipes; then it stays as it is."""
    import fcntl  # noqa: PLC0415  only Linux splices, and only Linux needs to have it

    try:
        fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)
    except PermissionError:
        return
