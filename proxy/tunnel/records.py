"""TLS records in memory: ciphertext in, plaintext out, and the other way round. No socket, no loop.

A memory BIO keeps for ever the size that it once had to have, so neither is given much at a time.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, cast

from proxy.relay.buffers import READ_BYTES, RECORD_BYTES
from proxy.tunnel.errors import TlsFailed

BIO_BYTES: Final = 64 * 1024
"""Ciphertext that a BIO is given at once, and at which what is to be sent is taken from it."""


class Records:
    """One side of a TLS connection."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, plaintext: memoryview) -> None:
        """`plaintext`: where decrypted bytes are put, for a read's worth of them and two records more."""
        self._incoming = ssl.MemoryBIO()
        self.output = ssl.MemoryBIO()
        """The records that wait to be sent: `read` takes them, `pending` says how many bytes those are."""
        self._tls = context.wrap_bio(self._incoming, self.output, server_side=server_side)
        # typeshed knows `read` only without a buffer, where it returns bytes.
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)
        self._plaintext = plaintext
        self.encrypt = self._tls.write
        """Take bytes to be sent; their records are in `output` then."""
        self.ended = False
        """The peer's close_notify came, or nothing can be decrypted any more."""
        self.failure: str | None = None
        """Why not; None after a close_notify."""

    # Handshake.

    def shake_hands(self, received: memoryview) -> bool:
        """Take what came and go on; whether the handshake is complete.

        Raises:
            TlsFailed: Refused by either side, in TLS's words; the alert is in the output.
        """
        self._incoming.write(received)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, OSError) as exc:
            raise TlsFailed(f"TLS handshake: {_reason(exc)}") from exc
        return True

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

    # Afterwards.

    def decrypt(self, received: memoryview) -> memoryview:
        """What a read's ciphertext, and what was there before it, says; valid until the next call.

        Asking TLS once more to hear that it wants more costs as much as the read itself (6 us for an
        exception); with nothing left in the BIO, or a whole record in it, the answer is known. The
        buffer holds a whole record, so none is ever left inside TLS.
        """
        plaintext, total = self._plaintext, 0
        incoming, read = self._incoming, self._read
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
                length = 0
            except ssl.SSLError as exc:
                self.failure, length = _reason(exc), 0
            if not length:
                self.ended = True
                break
            total += length
        return plaintext[:total]

    def close_notify(self) -> None:
        """Put it into the output."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):
            return  # SSLWantRead: ours is written, the peer's has not come; else there is nobody to tell


def _reason(exc: OSError) -> str:
    reason = getattr(exc, "reason", None) or exc.strerror or str(exc)
    verify = getattr(exc, "verify_message", None)
    return f"{reason}: {verify}" if verify else str(reason)
