"""TLS contexts: TLS 1.3, mutual, ALPN h2, no tickets, no names.

Peers are known by their SPIFFE ids, which `peer` checks after the handshake; a context checks the
chain alone.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from proxy.identity.certificate import Certificate

ALPN = "h2"


def client_context(certificate: Certificate) -> ssl.SSLContext:
    """For opening tunnels. Give no server name and no session with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the other side's name is its SPIFFE id
    return _finish(context, certificate)


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """For accepting tunnels."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A resumed session skips the check of the client's certificate (as in CVE-2025-23419), and
    # "reuse off" has to mean a full handshake.
    context.num_tickets = 0
    return _finish(context, certificate)


class Unusable(ValueError):
    """OpenSSL does not take a certificate, for example because its key is too weak."""


def _finish(context: ssl.SSLContext, certificate: Certificate) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([ALPN])
    # A root of the authority is an anchor whether or not it has signed itself, as for rustls: an issuing CA
    # may be plugged in without the one above it. Nothing but `roots_pem` can be one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # An end without close_notify is a cut, not an end: only END_STREAM may become a clean FIN.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    try:
        context.load_verify_locations(cadata=certificate.roots_pem)
        _load_key(context, certificate)
    except ssl.SSLError as exc:
        raise Unusable(f"certificate {certificate.serial}: {exc}") from exc
    return context


def _load_key(context: ssl.SSLContext, certificate: Certificate) -> None:
    """The ssl module reads keys from files only; this file is memory and has no name on any disk.

    Where there are no such files, it is one of the user's own, there while it is read.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "certificate.pem"
            path.touch(mode=0o600)
            path.write_bytes(certificate.key_pem + certificate.chain_pem)
            context.load_cert_chain(path)
        return
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(certificate.key_pem + certificate.chain_pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
