"""Clients that must not open a tunnel, in real handshakes with the side that accepts: T31, T33, T34.

A key that does not fit its certificate (B89) is not among them: OpenSSL will not offer it. Our own
side never takes one from the CA, which test_certificate.py shows.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.hbone.limits import SERVER_LIMITS
from proxy.identity.peer import IdentityMismatch
from proxy.telemetry import Stats
from proxy.tests.ca import CLIENT, USAGES, Ca, pem
from proxy.tests.sockets import PATIENCE_S, tcp_pair, until
from proxy.tests.tunnel.pair import CA, Contexts
from proxy.tunnel.errors import TlsFailed
from proxy.tunnel.server import ServerTunnel
from proxy.tunnel.tunnel import Timing

KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = Ca("stranger")
MIDDLE = Ca("middle", under=CA)
DAY = timedelta(days=1)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


NAMES = (uri(str(CLIENT)),)


def leaf(
    *names: x509.GeneralName,
    of: Ca = CA,
    key: CertificateIssuerPrivateKeyTypes = KEY,
    starts: timedelta = timedelta(minutes=-2),
    usages: Sequence[x509.ObjectIdentifier] = USAGES,
    ca: bool = False,
) -> x509.Certificate:
    """A client's certificate that is sound but for what is said."""
    return of.leaf(key.public_key(), names or NAMES, life=DAY, starts=starts, usages=usages, ca=ca)


def client(
    folder: Path,
    *chain: x509.Certificate,
    key: CertificateIssuerPrivateKeyTypes = KEY,
    alpn: Sequence[str] = ("h2",),
) -> ssl.SSLContext:
    """A client that offers this chain, and whatever is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if chain:
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / "client.pem"
        path.write_bytes(text + "".join(map(pem, chain)).encode())
        context.load_cert_chain(path)
    return context


def speak(sock: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands and read: in TLS 1.3 a client learns only then that it was refused."""
    sock.setblocking(True)
    sock.settimeout(PATIENCE_S)
    with suppress(OSError), context.wrap_socket(sock) as tls:
        tls.read(1)


async def accepted(context: ssl.SSLContext) -> str:
    """Whom the accepting side takes this client for."""
    near, far = tcp_pair()
    with near, ThreadPoolExecutor(1) as thread:
        thread.submit(speak, near, context)
        tunnel = await ServerTunnel.accept(
            far,
            Contexts.server,
            trust_domains=frozenset({"cluster.local"}),
            limits=SERVER_LIMITS,
            timing=Timing(),
            stats=Stats(),
        )
        tunnel.abort("seen")
        await until(lambda: tunnel.over)
        return str(tunnel.peer)


def long_chain(length: int) -> list[x509.Certificate]:
    """A leaf under so many intermediates, each signed by the next."""
    issuers = [CA]
    for number in range(length):
        issuers.append(Ca(f"intermediate {number}", under=issuers[-1]))
    return [leaf(of=issuers[-1]), *(each.root for each in reversed(issuers[1:]))]


@pytest.mark.parametrize("chain", [[leaf()], [leaf(of=MIDDLE), MIDDLE.root]], ids=["leaf", "intermediate"])
def test_a_sound_client_is_let_in(tmp_path: Path, chain: list[x509.Certificate]) -> None:
    assert asyncio.run(accepted(client(tmp_path, *chain))) == str(CLIENT)


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        pytest.param([], "PEER_DID_NOT_RETURN_A_CERTIFICATE", id="B80 none"),
        pytest.param([leaf(of=STRANGER)], "unable to get local issuer certificate", id="B82 another root"),
        pytest.param([leaf(starts=-2 * DAY)], "certificate has expired", id="B83 expired"),
        pytest.param([leaf(starts=DAY)], "certificate is not yet valid", id="B84 not yet valid"),
        pytest.param(
            [leaf(usages=[ExtendedKeyUsageOID.SERVER_AUTH])],
            "unsuitable certificate purpose",
            id="B85 a server's alone",
        ),
        pytest.param(
            [leaf(of=MIDDLE)], "unable to get local issuer certificate", id="B88 intermediate missing"
        ),
        pytest.param(long_chain(101), "certificate chain too long", id="B88 longer than OpenSSL follows"),
    ],
)
def test_a_chain_that_proves_nothing(tmp_path: Path, chain: list[x509.Certificate], why: str) -> None:
    with pytest.raises(TlsFailed, match=why):
        asyncio.run(accepted(client(tmp_path, *chain)))


def test_a_certificate_that_signed_itself(tmp_path: Path) -> None:
    """B81."""
    with pytest.raises(TlsFailed, match="self-signed certificate"):
        asyncio.run(accepted(client(tmp_path, STRANGER.root, key=STRANGER.key)))


def test_a_weak_key(tmp_path: Path) -> None:
    """B89: 1,024 bits, the least that the library still makes."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # the point of it

    with pytest.raises(TlsFailed, match="key too weak"):
        asyncio.run(accepted(client(tmp_path, leaf(key=weak), key=weak)))


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        pytest.param([leaf(x509.DNSName("client.bench"))], "0 URI names", id="B86 DNS only"),
        pytest.param([leaf(*NAMES, uri("spiffe://cluster.local/ns/x/sa/y"))], "2 URI names", id="B86 two"),
        pytest.param([leaf(uri("spiffe://cluster.local/ns//sa/"))], "namespace", id="B86 empty parts"),
        pytest.param(
            [leaf(uri("spiffe://other.example/ns/bench/sa/client"))],
            "trust domain other.example",
            id="B87 another trust domain",
        ),
        pytest.param([leaf(uri(f"{CLIENT}{'x' * 16_384}"))], "more than 2048", id="B89 a name of 16 KiB"),
        pytest.param([leaf(ca=True)], "CA's", id="T31 a CA as a leaf"),
    ],
)
def test_a_name_that_is_no_identity_of_ours(tmp_path: Path, chain: list[x509.Certificate], why: str) -> None:
    with pytest.raises(IdentityMismatch, match=why):
        asyncio.run(accepted(client(tmp_path, *chain)))


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)], ids=["B72 none", "B72 another"])
def test_a_client_that_does_not_say_h2(tmp_path: Path, alpn: Sequence[str]) -> None:
    with pytest.raises(TlsFailed, match="no ALPN protocol, expected h2"):
        asyncio.run(accepted(client(tmp_path, leaf(), alpn=alpn)))
