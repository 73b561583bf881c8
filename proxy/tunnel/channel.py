"""TLS over a non-blocking socket: big reads, one write per turn of the loop.

Received: up to 256 KiB from the socket at once, decrypted into one buffer, so that a system call is paid
per read and not per 16 KiB record. Sent: encrypted at once, but sent together at the end of the loop's
turn: streams that are ready in the same turn share a system call.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections import deque
from enum import IntEnum
from typing import Protocol

from proxy.net import options
from proxy.net.resets import ResetWatch
from proxy.relay.buffers import READ_BYTES, Buffers
from proxy.tunnel.errors import TlsFailed
from proxy.tunnel.records import BIO_BYTES, Records

CONGESTED_BYTES = 1024 * 1024
"""Unsent ciphertext above which streams may not add any. ztunnel: 4 MiB (client), 400 KiB (server)."""
RELIEVED_BYTES = 256 * 1024
"""Unsent ciphertext below which they may again."""


class Receiver(Protocol):
    """Who takes what is received."""

    def on_plaintext(self, data: memoryview) -> None:
        """Decrypted bytes; the memory is used again afterwards."""

    def on_relieved(self) -> None:
        """The channel is not congested any more."""

    def on_channel_closed(self, reason: str | None) -> None:
        """The channel is over. None: the peer said so (close_notify)."""


class Stage(IntEnum):
    """Where a channel is in its life; it only ever goes forward."""

    SHAKING = 0
    """The handshake is under way, or complete and nobody receives yet."""
    OPEN = 1
    CLOSING = 2
    """Our close_notify waits behind what is due; what the peer still says is not passed on."""
    FINISHED = 3
    """FIN is on its way behind it; the peer's is awaited."""
    CLOSED = 4
    """The socket is closed."""


_SHAKING, _OPEN, _CLOSING, _, _CLOSED = Stage
"""Asked for with every read and write; an enumeration's own names take three times as long."""


class Channel:
    """One TLS connection. Owns its socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
    ) -> None:
        self.stage = Stage.SHAKING
        self.congested = False
        """Too much is waiting to be sent."""
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        buffers = Buffers.of(loop)
        self._socket_buffer = buffers.socket
        self._server_side = server_side
        self._records = Records(context, server_side=server_side, plaintext=buffers.plaintext)
        self._encrypt, self._outgoing = self._records.encrypt, self._records.output
        self._handshake: asyncio.Future[None] | None = None
        self._receiver: Receiver | None = None
        self._unsent: deque[bytes | memoryview] = deque()
        """What the socket did not take, in order; behind it comes what TLS's output holds."""
        self._flush_due = False
        self._full = False
        """The socket takes no more for now: the loop says when."""
        self._broken: str | None = None
        """Why nothing can be sent any more; what came before is still read."""
        self._resets = ResetWatch.of(loop)

    # Handshake.

    async def handshake(self, timeout_s: float) -> None:
        """Complete the handshake.

        Our last flight stays unsent until the first `write` or `flush`, so that a client's first
        request travels right behind its Finished.

        Raises:
            TlsFailed: Not in time, or refused; what TLS said.
        """
        self._handshake = self._loop.create_future()
        self._resets.add(self._fd, self._on_reset)
        self._loop.add_reader(self._fd, self._on_shaking)
        if not self._server_side:  # a server has nothing to say before the client's first flight
            self._shake_hands(self._socket_buffer[:0])
        try:
            async with asyncio.timeout(timeout_s):
                await self._handshake
        except TimeoutError:
            raise TlsFailed(f"TLS handshake not complete after {timeout_s:g} s") from None
        finally:
            self._handshake = None

    @property
    def peer_certificate(self) -> bytes:
        """The peer's leaf certificate, DER."""
        return self._records.peer_certificate

    @property
    def resumed(self) -> bool:
        """Whether TLS skipped the certificates by resuming a session."""
        return self._records.resumed

    @property
    def protocol(self) -> str | None:
        """What ALPN chose."""
        return self._records.protocol

    @property
    def _shaking(self) -> asyncio.Future[None] | None:
        """The handshake's end, while somebody waits for it."""
        shaking = self._handshake
        return None if shaking is None or shaking.done() else shaking

    def _shake_hands(self, received: memoryview) -> None:
        try:
            complete = self._records.shake_hands(received)
        except TlsFailed as exc:
            self._say_why()
            self._handshake_failed(exc)
            return
        if not complete:
            self.flush()
        elif self._shaking is not None:
            self._shaking.set_result(None)

    def _handshake_failed(self, error: TlsFailed) -> None:
        self._loop.remove_reader(self._fd)
        if self._shaking is not None:
            self._shaking.set_exception(error)

    def _say_why(self) -> None:
        """Send TLS's alert, if the socket takes it."""
        try:
            self._sock.send(self._outgoing.read())
        except OSError:
            return  # the peer has gone; nobody is left to be told

    # Receiving.

    def start(self, receiver: Receiver, opening: bytes) -> None:
        """Send `opening` and begin to receive, with what has already come.

        When the peer has reset meanwhile, the receiver is told before this returns.
        """
        self._receiver = receiver
        self.stage = Stage.OPEN
        self.write(opening, now=True)
        self.pause()  # uvloop takes no second reader for a socket that it has given up on
        self.resume()
        self._resets.add(self._fd, self._on_reset)
        self._receive(self._socket_buffer[:0])
        while self._broken is not None and self.stage < Stage.CLOSED:
            self._on_readable()

    def pause(self) -> None:
        """Leave with the kernel what comes, until `resume`. A reset is heard of all the same."""
        self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Receive again."""
        if self.stage < Stage.CLOSED:
            self._loop.add_reader(self._fd, self._on_readable)

    def _on_shaking(self) -> None:
        """The handshake's reader."""
        if self._shaking is None:
            self._loop.remove_reader(self._fd)  # nobody receives: what comes stays with the kernel
            return
        try:
            length = self._sock.recv_into(self._socket_buffer, BIO_BYTES)
        except OSError as exc:
            self._not_read(exc)
            return
        if length:
            self._shake_hands(self._socket_buffer[:length])
        else:
            self._lost(self._broken or "connection closed by the peer")

    def _on_readable(self) -> None:
        try:
            length = self._sock.recv_into(self._socket_buffer, READ_BYTES)
        except OSError as exc:
            self._not_read(exc)
            return
        if length:
            self._receive(self._socket_buffer[:length])
        else:
            # An end only behind the peer's close_notify, or ours.
            cut_short = "connection closed without close_notify" if self.stage is _OPEN else None
            self._lost(self._broken or cut_short)

    def _not_read(self, error: OSError) -> None:
        """Nothing was there now, or the connection is over."""
        if not isinstance(error, BlockingIOError | InterruptedError):
            self._lost(error.strerror or str(error))
        elif self._broken is not None:
            self._lost(self._broken)

    def _receive(self, ciphertext: memoryview) -> None:
        records = self._records
        plaintext = records.decrypt(ciphertext)
        if plaintext and self._receiver is not None and self.stage is _OPEN:
            self._receiver.on_plaintext(plaintext)
        if records.ended:
            self._lost(records.failure)

    def _on_reset(self) -> None:
        """The socket has failed; what came before is read, with a turn for others in between."""
        shaking = self.stage is _SHAKING
        if self.stage is _CLOSED or (shaking and self._shaking is None):
            return  # `start` looks again
        self._broken = self._broken or os.strerror(errno.ECONNRESET)
        if shaking:
            self._on_shaking()
        else:
            self._on_readable()
        self._loop.call_soon(self._on_reset)

    def _lost(self, reason: str | None) -> None:
        """The connection is over; without a reason the peer has closed it in order."""
        if self.stage is _SHAKING:
            self._handshake_failed(TlsFailed(f"TLS handshake: {reason or 'closed by the peer'}"))
            return
        if reason is None and self.stage is _OPEN:
            self._records.close_notify()
            self.flush()
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.on_channel_closed(reason)

    # Sending.

    @property
    def _waiting(self) -> int:
        """Bytes of ciphertext that wait to be sent."""
        return self._outgoing.pending + sum(map(len, self._unsent))

    @property
    def undelivered(self) -> int:
        """Bytes of ciphertext that wait to be sent, or have not been acknowledged by the peer's host."""
        if self.stage is _CLOSED:
            return 0
        return self._waiting + options.unacknowledged(self._sock)

    def write(self, data: bytes | memoryview, *, now: bool = False) -> None:
        """Encrypt now; send at the end of this turn, or now, with what is due, when nobody would share it."""
        if self.stage is not _OPEN:
            return
        self._encrypt(data)
        outgoing = self._outgoing
        if self._full:
            if outgoing.pending >= BIO_BYTES:
                self._unsent.append(outgoing.read())
            self.congested = self._waiting > CONGESTED_BYTES
        elif now or outgoing.pending >= BIO_BYTES:
            self._send()
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush_turn)

    def flush(self) -> None:
        """Send now."""
        if not self._full:
            self._send()

    def _flush_turn(self) -> None:
        self._flush_due = False
        if not self._full:
            self._send()

    def _send(self) -> None:
        """Send what waits, as far as the socket takes it."""
        if self.stage is _CLOSED:
            return
        unsent, outgoing = self._unsent, self._outgoing
        while unsent or outgoing.pending:
            data = unsent.popleft() if unsent else outgoing.read()
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._break(exc.strerror or str(exc))
                return
            if sent < len(data):
                unsent.appendleft(memoryview(data)[sent:])
                self._wait_for_room()
                return
        if self._full or self.congested or self.stage is _CLOSING:
            self._sent_all()

    def _break(self, reason: str) -> None:
        """Nothing can be sent any more. What the peer said before it closed may not have been read yet."""
        self._stop_writing()
        self._unsent.clear()
        if self._broken is None:
            self._broken = reason
            self._loop.call_soon(self._on_reset)

    def _wait_for_room(self) -> None:
        if not self._full:
            self._full = True
            self._loop.add_writer(self._fd, self._send)
        self._relieve()

    def _stop_writing(self) -> None:
        if self._full:
            self._full = False
            self._loop.remove_writer(self._fd)

    def _sent_all(self) -> None:
        self._stop_writing()
        if self.stage is _CLOSING:
            self.stage = Stage.FINISHED
            self._shutdown()
        self._relieve()

    def _relieve(self) -> None:
        if self.congested and self._waiting < RELIEVED_BYTES:
            self.congested = False
            if self._receiver is not None:
                self._receiver.on_relieved()

    # The end.

    def close(self) -> None:
        """Send what is due, close_notify and FIN; `on_channel_closed` comes when the peer has done the same.

        The socket is read until then: closing it with unread bytes would reset the connection and
        could take our last bytes with it.
        """
        if self.stage >= Stage.CLOSING:
            return
        self._records.close_notify()
        self.stage = Stage.CLOSING
        self.resume()
        self.flush()

    def abort(self) -> None:
        """Let go of the socket at once. No `on_channel_closed` follows."""
        if self.stage is _CLOSED:
            return
        self.stage = Stage.CLOSED
        self._receiver = None
        self._loop.remove_reader(self._fd)
        self._stop_writing()
        self._resets.discard(self._fd)
        self._sock.close()

    def reset(self) -> None:
        """As `abort`, and the peer sees a reset."""
        if self.stage < Stage.CLOSED:
            options.reset_on_close(self._sock, on=True)
            self.abort()

    def _shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # reset meanwhile; the reader is told
