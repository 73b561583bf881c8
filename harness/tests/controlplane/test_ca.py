from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from harness.controlplane.ca import DEFAULT_CAP_S, Authority, Issued, Reason, Refusal

CLIENT = "spiffe://cluster.local/ns/bench/sa/client"
OTHER = "spiffe://cluster.local/ns/bench/sa/other"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
P256 = ec.generate_private_key(ec.SECP256R1())


def csr(
    *names: x509.GeneralName,
    key: CertificateIssuerPrivateKeyTypes = P256,
    extensions: Sequence[x509.ExtensionType] = (),
    uri: str = CLIENT,
    subject: Sequence[x509.NameAttribute[str]] = (),
    san: bool = True,
) -> str:
    """A request in PEM: with one URI SAN, unless `names` says which ones or `san` says none."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if san:
        sans = x509.SubjectAlternativeName(names or [x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(sans, critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


def sign(
    authority: Authority,
    request: str = "",
    identity: str = CLIENT,
    ttl_s: int = 3600,
    *,
    allowed: frozenset[str] = frozenset({CLIENT, OTHER}),
    now: datetime = NOW,
) -> Issued:
    return authority.sign(request or csr(), identity, ttl_s, allowed=allowed, now=now)


@pytest.fixture
def authority() -> Authority:
    return Authority(now=NOW)


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def usage(**bits: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: bits.get(name, False) for name in USAGES})


def flipped(request: str) -> str:
    """The request with one bit of its signature changed."""
    der = bytearray(x509.load_pem_x509_csr(request.encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()


def leaf_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.chain[0].encode())


def test_the_chain_is_the_leaf_then_the_root(authority: Authority) -> None:
    issued = sign(authority)

    assert [authority.root_pem] == list(issued.chain[1:])
    leaf_of(issued).verify_directly_issued_by(authority.root)


def test_the_leaf_holds_what_a_workload_certificate_holds(authority: Authority) -> None:
    leaf = leaf_of(sign(authority))

    extensions = leaf.extensions
    san = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [x509.UniformResourceIdentifier(CLIENT)] == list(san.value)
    assert san.critical
    assert usage(digital_signature=True) == extensions.get_extension_for_class(x509.KeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(
        extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    )
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert P256.public_key() == leaf.public_key()


def test_a_strict_verifier_accepts_the_leaf_as_a_client(authority: Authority) -> None:
    verifier = (
        PolicyBuilder()
        .store(Store([authority.root]))
        .time(NOW + timedelta(minutes=1))
        .build_client_verifier()
    )

    verified = verifier.verify(leaf_of(sign(authority)), [])

    assert [x509.UniformResourceIdentifier(CLIENT)] == verified.subjects


@pytest.mark.parametrize(
    ("ttl_s", "granted_s"), [(1, 1), (60, 60), (DEFAULT_CAP_S, DEFAULT_CAP_S), (30 * 86400, DEFAULT_CAP_S)]
)
def test_lifetime_is_as_asked_up_to_the_cap(authority: Authority, ttl_s: int, granted_s: int) -> None:
    leaf = leaf_of(sign(authority, ttl_s=ttl_s))

    assert leaf.not_valid_before_utc == NOW
    assert timedelta(seconds=granted_s) == leaf.not_valid_after_utc - leaf.not_valid_before_utc


def test_a_leaf_never_outlives_the_root(authority: Authority) -> None:
    end = authority.root.not_valid_after_utc

    leaf = leaf_of(sign(authority, now=end - timedelta(seconds=5)))

    assert end == leaf.not_valid_after_utc


def test_each_leaf_has_a_serial_of_its_own(authority: Authority) -> None:
    serials = {sign(authority).serial for _ in range(8)}

    assert len(serials) == 8


def test_nothing_but_the_key_is_taken_from_the_request(authority: Authority) -> None:
    request = csr(
        subject=[x509.NameAttribute(NameOID.COMMON_NAME, "admin")],
        extensions=[usage(digital_signature=True, key_encipherment=True)],
    )

    leaf = leaf_of(sign(authority, request))

    assert x509.Name([]) == leaf.subject
    assert usage(digital_signature=True) == leaf.extensions.get_extension_for_class(x509.KeyUsage).value


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["p384", "rsa2048"],
)
def test_other_sound_keys_are_signed(authority: Authority, key: CertificateIssuerPrivateKeyTypes) -> None:
    leaf = leaf_of(sign(authority, csr(key=key)))

    assert key.public_key() == leaf.public_key()


URI = x509.UniformResourceIdentifier
CA_TRUE = x509.BasicConstraints(ca=True, path_length=None)
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose: it must be refused
REFUSED = {
    "empty": ("", Reason.MALFORMED, "not PKCS #10"),
    "not pem": ("hello", Reason.MALFORMED, "not PKCS #10"),
    "pem of nothing": (
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        Reason.MALFORMED,
        "",
    ),
    "non-ascii": ("é" * 10, Reason.MALFORMED, "not PKCS #10"),
    "too long": ("A" * 20_000, Reason.MALFORMED, "20000 bytes; at most 16384"),
    "signature": (flipped(csr()), Reason.SIGNATURE, "not signed by the key"),
    "rsa 1024": (csr(key=WEAK), Reason.KEY, "1024 bits; at least 2048"),
    "p-521": (csr(key=ec.generate_private_key(ec.SECP521R1())), Reason.KEY, "secp521r1; allowed: secp256r1"),
    "ed25519": (csr(key=ed25519.Ed25519PrivateKey.generate()), Reason.KEY, "Ed25519PublicKey"),
    "dsa": (csr(key=dsa.generate_private_key(2048)), Reason.KEY, "DSAPublicKey"),
    "no san": (csr(san=False), Reason.SAN, "no subjectAltName"),
    "other identity": (csr(uri=OTHER), Reason.SAN, f"expected URI:{CLIENT}"),
    "dns san": (csr(x509.DNSName("client")), Reason.SAN, "DNSName"),
    "identity and more": (csr(URI(CLIENT), URI(OTHER)), Reason.SAN, "2 subjectAltNames"),
    "identity and dns": (csr(URI(CLIENT), x509.DNSName("x")), Reason.SAN, "2 subjectAltNames"),
    "identity twice": (csr(URI(CLIENT), URI(CLIENT)), Reason.SAN, "2 subjectAltNames"),
    "trailing slash": (csr(uri=CLIENT + "/"), Reason.SAN, "expected URI"),
    "ca true": (csr(extensions=[CA_TRUE]), Reason.CA, "CA:TRUE"),
    "cert sign": (csr(extensions=[usage(key_cert_sign=True)]), Reason.CA, "keyCertSign"),
    "crl sign": (csr(extensions=[usage(crl_sign=True)]), Reason.CA, "cRLSign"),
}


@pytest.mark.parametrize(("request_pem", "reason", "said"), REFUSED.values(), ids=REFUSED)
def test_bad_requests_are_refused_with_their_reason(
    authority: Authority, request_pem: str, reason: Reason, said: str
) -> None:
    """B100, T37."""
    with pytest.raises(Refusal) as caught:
        authority.sign(request_pem, CLIENT, 3600, allowed=frozenset({CLIENT}), now=NOW)

    assert reason == caught.value.reason
    assert said in str(caught.value)
    assert ({}, {reason.value: 1}) == (authority.issued, authority.refused)


@pytest.mark.parametrize("ttl_s", [0, -1, -(2**63), 100 * 365 * 86400, 2**63 - 1])
def test_absurd_lifetimes_are_refused(authority: Authority, ttl_s: int) -> None:
    with pytest.raises(Refusal, match=f"validity_duration is {ttl_s} s") as caught:
        sign(authority, ttl_s=ttl_s)

    assert caught.value.reason == Reason.TTL


@pytest.mark.parametrize("identity", ["", OTHER, CLIENT + "/", CLIENT.upper()])
def test_identities_without_a_pod_on_the_node_are_refused(authority: Authority, identity: str) -> None:
    with pytest.raises(Refusal, match="has no pod on this node") as caught:
        sign(authority, csr(uri=identity or CLIENT), identity, allowed=frozenset({CLIENT}))

    assert caught.value.reason == Reason.IDENTITY


def test_what_was_issued_is_counted_by_identity(authority: Authority) -> None:
    for identity in (CLIENT, OTHER, CLIENT):
        sign(authority, csr(uri=identity), identity)

    assert authority.issued == {CLIENT: 2, OTHER: 1}
    assert authority.refused == {}
