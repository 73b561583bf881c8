"""The mesh's certificate authority: one root per run, kept in memory, and what it will sign.

A leaf carries exactly what ztunnel's own authority would give: one URI SAN, digital signature,
server and client authentication. Nothing of the request but its public key reaches the leaf.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_LIFETIME = timedelta(days=3650)
"""Istio's self-signed root lives ten years; no run does."""
DEFAULT_CAP_S = 24 * 3600
"""Longest leaf, seconds; longer wishes are cut to it. ztunnel asks for 24 h (SECRET_TTL)."""
ABSURD_TTL_S = 366 * 24 * 3600
"""A request beyond this is a mistake (a wrong unit, an overflow), so it is refused rather than cut."""
MAX_CSR_BYTES = 16 * 1024
"""A P-256 request is about 500 bytes, an RSA-4096 one 2 KiB."""
MIN_RSA_BITS = 2048
CURVES = (ec.SECP256R1, ec.SECP384R1)


class Reason(StrEnum):
    """Why a request is refused, one word per cause; the words of `status` and of the log."""

    MALFORMED = "malformed"
    SIGNATURE = "bad-signature"
    KEY = "bad-key"
    SAN = "bad-san"
    CA = "asks-for-ca"
    TTL = "bad-ttl"
    IDENTITY = "identity-not-on-node"


class Refusal(Exception):
    """A request that is not signed."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A signed leaf with its chain."""

    identity: str
    serial: int
    not_after: datetime
    chain: tuple[str, ...]
    """PEM, leaf first, the root last."""


class Authority:
    """A root made at once, and what it issued. Safe to call from several threads."""

    def __init__(self, *, now: datetime | None = None, cap_s: int = DEFAULT_CAP_S) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._cap_s = cap_s
        self.root = _root(self._key, _whole_second(now))
        self.root_pem = self.root.public_bytes(Encoding.PEM).decode()
        self._lock = threading.Lock()
        self._issued: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    @property
    def issued(self) -> Mapping[str, int]:
        """Identity -> leaves signed so far."""
        with self._lock:
            return dict(self._issued)

    @property
    def refused(self) -> Mapping[str, int]:
        """Reason -> requests refused so far."""
        with self._lock:
            return dict(self._refused)

    def sign(
        self, csr_pem: str, identity: str, ttl_s: int, *, allowed: frozenset[str], now: datetime | None = None
    ) -> Issued:
        """Sign one request.

        Args:
            csr_pem: PKCS #10 in PEM, as a proxy sends it.
            identity: SPIFFE id that the caller says it acts for.
            ttl_s: Wanted lifetime, seconds; cut to the authority's cap.
            allowed: The identities that the caller may ask for: those of the pods on its node.
            now: The leaf's start; the wall clock when absent. There is no backdating: all parties
                share one clock, and a leaf of a few seconds (rotation tests) has no room for it.

        Raises:
            Refusal: The request is not signed, and why.
        """
        try:
            issued = self._sign(csr_pem, identity, ttl_s, allowed, _whole_second(now))
        except Refusal as exc:
            with self._lock:
                self._refused[exc.reason.value] += 1
            raise
        with self._lock:
            self._issued[identity] += 1
        return issued

    def _sign(
        self, csr_pem: str, identity: str, ttl_s: int, allowed: frozenset[str], start: datetime
    ) -> Issued:
        if identity not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise Refusal(Reason.IDENTITY, f"identity {identity!r} has no pod on this node; here: {known}")
        if not 0 < ttl_s <= ABSURD_TTL_S:
            raise Refusal(Reason.TTL, f"validity_duration is {ttl_s} s; allowed: 1 to {ABSURD_TTL_S}")
        request = _parse(csr_pem)
        _check(request, identity)
        not_after = min(start + timedelta(seconds=min(ttl_s, self._cap_s)), self.root.not_valid_after_utc)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(not_after)
            # RFC 5280 4.2.1.6: critical where the subject is empty, which SPIFFE's X509-SVID text allows.
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(_usage(digital_signature=True), True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
            .sign(self._key, hashes.SHA256())
        )
        return Issued(
            identity=identity,
            serial=leaf.serial_number,
            not_after=not_after,
            chain=(leaf.public_bytes(Encoding.PEM).decode(), self.root_pem),
        )


def _whole_second(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).replace(microsecond=0)  # X.509 times have no fractions


def _root(key: ec.EllipticCurvePrivateKey, start: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ambientbench")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _parse(csr_pem: str) -> x509.CertificateSigningRequest:
    if len(csr_pem) > MAX_CSR_BYTES:
        raise Refusal(Reason.MALFORMED, f"csr has {len(csr_pem)} bytes; at most {MAX_CSR_BYTES} are read")
    try:
        return x509.load_pem_x509_csr(csr_pem.encode())
    except ValueError as exc:
        raise Refusal(Reason.MALFORMED, f"csr is not PKCS #10 in PEM: {exc}") from exc


def _check(request: x509.CertificateSigningRequest, identity: str) -> None:
    try:
        key = request.public_key()
        signed = request.is_signature_valid
        extensions = request.extensions
    except UnsupportedAlgorithm as exc:
        raise Refusal(Reason.KEY, f"csr's key or signature algorithm is not supported: {exc}") from exc
    except (ValueError, InvalidSignature, x509.DuplicateExtension) as exc:
        raise Refusal(Reason.MALFORMED, f"csr cannot be read: {exc}") from exc
    _check_key(key)
    if not signed:
        raise Refusal(Reason.SIGNATURE, "csr is not signed by the key it holds")
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            raise Refusal(Reason.CA, "csr asks for a CA certificate (basicConstraints CA:TRUE)")
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
            raise Refusal(Reason.CA, "csr asks for a CA's key usage (keyCertSign or cRLSign)")
    _check_san(extensions, identity)


def _check_key(key: object) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, CURVES):
            allowed = ", ".join(curve.name for curve in CURVES)
            raise Refusal(Reason.KEY, f"csr's key is on curve {key.curve.name}; allowed: {allowed}")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise Refusal(Reason.KEY, f"csr's RSA key has {key.key_size} bits; at least {MIN_RSA_BITS}")
    else:
        raise Refusal(Reason.KEY, f"csr's key is {type(key).__name__}; allowed: EC P-256, P-384, RSA")


def _check_san(extensions: x509.Extensions, identity: str) -> None:
    try:
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound as exc:
        raise Refusal(Reason.SAN, f"csr has no subjectAltName; expected URI:{identity}") from exc
    if len(names) != 1:
        raise Refusal(Reason.SAN, f"csr has {len(names)} subjectAltNames; expected only URI:{identity}")
    name = names[0]
    if not isinstance(name, x509.UniformResourceIdentifier) or name.value != identity:
        raise Refusal(Reason.SAN, f"csr's subjectAltName is {name!r}; expected URI:{identity}")
