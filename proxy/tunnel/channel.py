"""TLS over a non-blocking socket: big reads, one write per turn of the loop.

Received: up to 256 KiB from the socket at once, through a memory BIO, decrypted into one buffer, so
that a system call is paid per read and not per 16 KiB record. Sent: encrypted at once, but sent
together at the end of the loop's turn: streams that are ready in the same turn share a system call.

A memory BIO for ever keeps the size that it once had to have, so neither is given much at a time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from proxy.net import options
from proxy.relay.buffers import READ_BYTES, RECORD_BYTES, Buffers
from proxy.tunnel.errors import TlsFailed

CONGESTED_BYTES = 1024 * 1024
"""Unsent ciphertext above which streams may not add any. ztunnel: 4 MiB (client), 400 KiB (server)."""
RELIEVED_BYTES = 256 * 1024
"""Unsent ciphertext below which they may again."""
BIO_BYTES = 64 * 1024
"""Ciphertext that a BIO is given at once when it comes, and at which it leaves it when it is to be sent."""


class Receiver(Protocol):
    """Who takes what comes."""

    def on_plaintext(self, data: memoryview) -> None:
        """Decrypted bytes; the memory is used again afterwards."""

    def on_relieved(self) -> None:
        """The channel is not congested any more."""

    def on_channel_closed(self, reason: str | None) -> None:
        """The channel is over. None: the peer said so (close_notify)."""


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
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)
        # typeshed knows `read` only without a buffer, where it returns bytes.
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)
        buffers = Buffers.of(loop)
        self._socket_buffer, self._plaintext = buffers.socket, buffers.plaintext
        self._handshake: asyncio.Future[None] | None = None
        self._receiver: Receiver | None = None
        self._unsent: deque[bytes | memoryview] = deque()
        """What the socket did not take, in order; behind it comes what TLS's buffer holds."""
        self._flush_due = False
        self._watching = False
        self._writing = False
        self._closing = False
        self._fin_sent = False
        self.congested = False
        """Too much is waiting to be sent."""

    # Handshake.

    async def handshake(self, timeout_s: float) -> None:
        """Complete the handshake.

        Our last flight stays unsent until the first `write` or `flush`, so that a client's first
        request travels right behind its Finished.

        Raises:
            TlsFailed: Not in time, or refused; what TLS said.
        """
        self._handshake = self._loop.create_future()
        self._watch()
        if not self._tls.server_side:
            self._continue_handshake()  # a server has nothing to say before the client's first flight
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
        certificate = self._tls.getpeercert(binary_form=True)
        if certificate is None:
            raise TlsFailed("peer sent no certificate")
        return certificate

    @property
    def resumed(self) -> bool:
        """Whether TLS skipped the certificates by resuming a session."""
        return bool(self._tls.session_reused)

    @property
    def protocol(self) -> str | None:
        """What ALPN chose."""
        return self._tls.selected_alpn_protocol()

    def _continue_handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return
        except (ssl.SSLError, OSError) as exc:
            self._flush_alert()
            self._handshake_failed(_tls_reason(exc))
            return
        if self._handshake is not None and not self._handshake.done():
            self._handshake.set_result(None)

    def _handshake_failed(self, reason: str) -> None:
        self._unwatch()
        if self._handshake is not None and not self._handshake.done():
            self._handshake.set_exception(TlsFailed(f"TLS handshake: {reason}"))

    def _flush_alert(self) -> None:
        """Say why, if the socket takes it."""
        try:
            self._sock.send(self._outgoing.read())
        except OSError:
            return  # the peer has gone; nobody is left to be told

    # Receiving.

    def start(self, receiver: Receiver) -> None:
        """Begin to receive, with what has already come."""
        self._receiver = receiver
        self._watch()
        self._decrypt(self._socket_buffer[:0])

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.add_reader(self._fd, self._on_readable)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._fd)

    def _on_readable(self) -> None:
        if self._receiver is None and (self._handshake is None or self._handshake.done()):
            self._unwatch()  # until somebody receives, what comes stays with the kernel
            return
        try:
            limit = READ_BYTES if self._receiver is not None else BIO_BYTES
            length = self._sock.recv_into(self._socket_buffer, limit)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._lost(exc.strerror or str(exc))
            return
        if self._receiver is None:
            if not length:
                self._handshake_failed("connection closed by the peer")
                return
            self._incoming.write(self._socket_buffer[:length])
            self._continue_handshake()
            return
        if not length:
            self._lost("connection closed without close_notify" if not self._closing else None)
            return
        self._decrypt(self._socket_buffer[:length])

    def _decrypt(self, received: memoryview) -> None:
        plaintext, total, ended = self._plaintext, 0, False
        read = self._read
        failure: str | None = None
        incoming = self._incoming
        # Asking TLS once more to hear that it wants more costs as much as the read itself (6 us for an
        # exception); with nothing left in the BIO, or a whole record in it, the answer is known. The
        # buffer holds a whole record, so none is ever left inside TLS.
        while received or incoming.pending:
            if received and incoming.pending < RECORD_BYTES:
                incoming.write(received[:BIO_BYTES])
                received = received[BIO_BYTES:]
            try:
                length = read(READ_BYTES, plaintext[total:] if total else plaintext)
            except ssl.SSLWantReadError:
                if received:
                    continue  # records without data, or part of one: the BIO is empty
                break
            except ssl.SSLZeroReturnError:
                ended = True
                break
            except ssl.SSLError as exc:
                failure = _tls_reason(exc)
                break
            if not length:
                ended = True
                break
            total += length
        if total and self._receiver is not None and not self._closing:
            self._receiver.on_plaintext(plaintext[:total])
        if failure is not None or ended:
            self._lost(failure)

    def _lost(self, reason: str | None) -> None:
        receiver, self._receiver = self._receiver, None
        if self._handshake is not None:
            self._handshake_failed(reason or "closed by the peer")
            return
        if reason is None and not self._closing:
            self._close_notify()
            self.flush()
        self.abort()
        if receiver is not None:
            receiver.on_channel_closed(reason)

    # Sending.

    @property
    def _waiting(self) -> int:
        """Bytes of ciphertext that wait to be sent."""
        return self._outgoing.pending + sum(map(len, self._unsent))

    def write(self, data: bytes | memoryview, *, now: bool = False) -> None:
        """Encrypt now; send at the end of this turn, or now, with what is due, when nobody would share it."""
        if self._closing or self._fd < 0:
            return
        self._tls.write(data)
        outgoing = self._outgoing
        if self._writing:
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
        if not self._writing:
            self._send()

    def _flush_turn(self) -> None:
        self._flush_due = False
        if not self._writing:
            self._send()

    def _send(self) -> None:
        if self._fd < 0:
            return
        unsent = self._unsent
        while data := unsent.popleft() if unsent else self._outgoing.read():
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._lost(exc.strerror or str(exc))
                return
            if sent < len(data):
                unsent.appendleft(memoryview(data)[sent:])
                self._wait_for_room()
                return
            if not (unsent or self._outgoing.pending):
                break
        if self._writing or self._closing or self.congested:
            self._sent_all()

    def _wait_for_room(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._send)
        self._relieve()

    def _sent_all(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        if self._closing and not self._fin_sent:
            self._fin_sent = True
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
        if self._closing or self._fd < 0:
            return
        self._close_notify()
        self._closing = True
        self.flush()

    def abort(self) -> None:
        """Let go of the socket at once. No `on_channel_closed` follows."""
        if self._fd < 0:
            return
        self._receiver = None
        self._unwatch()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        self._fd = -1
        self._sock.close()

    def reset(self) -> None:
        """As `abort`, and the peer sees a reset."""
        if self._fd >= 0:
            options.reset_on_close(self._sock, on=True)
            self.abort()

    def _close_notify(self) -> None:
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            return  # SSLWantRead: ours is written, the peer's has not come; else there is nobody to tell

    def _shutdown(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # reset meanwhile; the reader is told


def _tls_reason(exc: OSError) -> str:
    reason = getattr(exc, "reason", None) or exc.strerror or str(exc)
    verify = getattr(exc, "verify_message", None)
    return f"{reason}: {verify}" if verify else str(reason)
