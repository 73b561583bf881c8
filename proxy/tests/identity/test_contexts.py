"""Real handshakes between our own contexts, and with peers that must not pass: T30, T35, T36."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.identity.certificate import Request
from proxy.identity.contexts import Unusable, client_context, server_context
from proxy.identity.peer import leaf_identity
from proxy.tests.ca import CLIENT, SERVER, Ca, pem
from proxy.tests.namespaces import open_descriptors

CA = Ca()


class Pair:
    """A client and a server that talk through memory."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(down, up, server_side=False)
        self.server = server.wrap_bio(up, down, server_side=True)

    def handshake(self) -> None:
        for _ in range(4):
            for side in (self.client, self.server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue

    def round_trip(self) -> None:
        """In TLS 1.3 a client learns that its certificate was refused when it reads."""
        self.server.write(b"x")
        self.client.read(1)


def ours() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return client_context(CA.certificate(CLIENT)), server_context(CA.certificate(SERVER))


def test_both_sides_prove_who_they_are() -> None:
    pair = Pair(*ours())

    pair.handshake()
    pair.round_trip()

    seen_by_client = pair.client.getpeercert(binary_form=True)
    seen_by_server = pair.server.getpeercert(binary_form=True)
    assert seen_by_client is not None
    assert seen_by_server is not None
    assert (leaf_identity(seen_by_client), leaf_identity(seen_by_server)) == (SERVER, CLIENT)
    assert pair.client.version() == "TLSv1.3"
    assert pair.client.selected_alpn_protocol() == pair.server.selected_alpn_protocol() == "h2"


def test_no_ticket_is_sent_so_nothing_can_be_resumed() -> None:
    """T36."""
    client, server = ours()
    first = Pair(client, server)
    first.handshake()
    first.round_trip()

    assert server.num_tickets == 0
    assert first.client.session is None or not first.client.session.has_ticket
    second = Pair(client, server)
    second.handshake()
    second.round_trip()
    assert not second.client.session_reused
    assert not second.server.session_reused


def plain_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_a_client_without_certificate_is_refused() -> None:
    """T30."""
    pair = Pair(plain_client(), ours()[1])

    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        pair.handshake()


def test_certificates_of_another_root_are_refused_by_both_sides() -> None:
    """T31."""
    other = Ca("other")
    foreign_client = client_context(other.certificate(CLIENT))
    foreign_client.verify_mode = ssl.CERT_NONE

    with pytest.raises(ssl.SSLCertVerificationError):
        Pair(foreign_client, ours()[1]).handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        Pair(ours()[0], server_context(other.certificate(SERVER))).handshake()


def test_an_anchor_that_did_not_sign_itself_proves_peers() -> None:
    """P18: an issuing CA that is plugged in without the one above it."""
    issuing = Ca("issuing", under=Ca("offline root"))
    pair = Pair(client_context(issuing.certificate(CLIENT)), server_context(issuing.certificate(SERVER)))

    pair.handshake()
    pair.round_trip()


ABOVE = Ca("above")
ROOT = Ca("root", under=ABOVE)
MIDDLE = Ca("middle", under=ROOT)
WORKLOAD = Ca("workload", under=MIDDLE, ca=False)
BESIDE = Ca("beside", under=ABOVE)


def foreign_client(issuer: Ca, *behind: Ca) -> ssl.SSLContext:
    """A client's context that asks nothing of the server, with what an authority would not have issued."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issuer.leaf(key.public_key(), [x509.UniformResourceIdentifier(str(CLIENT))])
    encoding, form, plain = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    certificate = replace(
        CA.certificate(CLIENT),
        key_pem=key.private_bytes(encoding, form, plain),
        chain_pem="".join([pem(leaf), *(pem(each.root) for each in (issuer, *behind))]).encode(),
    )
    context = client_context(certificate)
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    ("issuers", "trusted"),
    [
        ((MIDDLE,), True),
        ((MIDDLE, ROOT), True),
        ((ROOT,), True),
        ((ABOVE,), False),
        ((BESIDE,), False),
        ((BESIDE, ABOVE), False),
        ((WORKLOAD, MIDDLE), False),
        ((Ca("root"),), False),
        ((Ca("middle"), ROOT), False),
    ],
)
def test_nothing_but_the_roots_is_an_anchor(issuers: tuple[Ca, ...], trusted: bool) -> None:
    """P18, T31: not what stands above or beside a root, nor a workload's key, nor what bears its name."""
    request = Request(SERVER)
    answer = [MIDDLE.answer(request.csr_pem)[0], pem(MIDDLE.root), pem(ROOT.root)]
    pair = Pair(foreign_client(*issuers), server_context(request.accept(answer, now=time.time())))

    if trusted:
        pair.handshake()
        pair.round_trip()
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            pair.handshake()


def test_tls_1_2_is_refused() -> None:
    """T35, B90."""
    old = plain_client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        Pair(old, ours()[1]).handshake()


def test_keys_leave_no_descriptor_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T42, I8."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    certificate = CA.certificate(CLIENT)
    before = open_descriptors()

    for _ in range(5):
        client_context(certificate)
        server_context(certificate)

    assert open_descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_that_openssl_refuses_is_unusable() -> None:
    certificate = CA.certificate(CLIENT)
    object.__setattr__(certificate, "chain_pem", b"garbage")

    with pytest.raises(Unusable):
        client_context(certificate)
