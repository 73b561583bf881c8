"""A private key with the chain that was issued for it, checked against what was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.identity.chain import InvalidChain, find
from proxy.identity.peer import IdentityMismatch, leaf_identity
from proxy.identity.spiffe import SpiffeId

MAX_CHAIN = 10
"""Certificates in an answer; real chains have two to four."""
MAX_BYTES = 256 * 1024
"""Size of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A workload's certificate. The key is in memory only and in no representation."""

    identity: SpiffeId
    key_pem: bytes = field(repr=False)
    chain_pem: bytes = field(repr=False)
    """What is sent to peers: the leaf, then its intermediates; its root where there are none."""
    roots_pem: str = field(repr=False)
    """What peers' chains must end in."""
    serial: str
    not_before: float
    """Seconds since the epoch."""
    not_after: float

    @property
    def half_life(self) -> float:
        """When to renew it, in seconds since the epoch; as ztunnel does."""
        return (self.not_before + self.not_after) / 2


class Request:
    """A fresh P-256 key and the signing request for it."""

    def __init__(self, identity: SpiffeId) -> None:
        self.identity = identity
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        signed = request.add_extension(name, critical=True).sign(self._key, hashes.SHA256())
        self.csr_pem = signed.public_bytes(serialization.Encoding.PEM).decode()

    def accept(self, answer: Sequence[str], *, now: float) -> Certificate:
        """Take the authority's answer if it is what was asked for.

        Args:
            answer: PEM texts: first the leaf, last the roots; between them, and behind the leaf, whatever
                may lead from one to the other.
            now: Seconds since the epoch.

        Raises:
            InvalidChain: Empty, unreadable, for another identity or key, not valid now, or without a way
                to a root.
        """
        if len(answer) < 2:
            raise InvalidChain(f"{len(answer)} certificates; expected a leaf and a root")
        if len(answer) > MAX_CHAIN or sum(map(len, answer)) > MAX_BYTES:
            raise InvalidChain(
                f"{len(answer)} certificates in {sum(map(len, answer))} bytes, more than is sane"
            )
        leaf, *bag = [certificate for text in answer[:-1] for certificate in _certificates(text)]
        roots = _certificates(answer[-1])
        self._check_leaf(leaf, now)
        chain = find(leaf, bag, roots, now=now)
        return Certificate(
            identity=self.identity,
            key_pem=self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            chain_pem=b"".join(item.public_bytes(serialization.Encoding.PEM) for item in chain.sent),
            roots_pem="".join(
                item.public_bytes(serialization.Encoding.PEM).decode() for item in chain.anchors
            ),
            serial=f"{leaf.serial_number:x}",
            not_before=leaf.not_valid_before_utc.timestamp(),
            not_after=leaf.not_valid_after_utc.timestamp(),
        )

    def _check_leaf(self, leaf: x509.Certificate, now: float) -> None:
        try:
            found = leaf_identity(leaf.public_bytes(serialization.Encoding.DER))
        except IdentityMismatch as exc:
            raise InvalidChain(f"issued {exc}") from exc
        if found != self.identity:
            raise InvalidChain(f"issued for {found}, asked for {self.identity}")
        if not self._is_ours(leaf):
            raise InvalidChain("issued for another key than the request's")
        early_s = leaf.not_valid_before_utc.timestamp() - now
        if early_s > 0:
            raise InvalidChain(
                f"not valid before {leaf.not_valid_before_utc:%FT%TZ}, "
                f"{early_s:.0f} s ahead of this node's clock"
            )
        if leaf.not_valid_after_utc.timestamp() <= now:
            clock = datetime.fromtimestamp(now, UTC)
            raise InvalidChain(
                f"expired at {leaf.not_valid_after_utc:%FT%TZ}; this node's clock says {clock:%FT%TZ}"
            )

    def _is_ours(self, leaf: x509.Certificate) -> bool:
        try:
            return leaf.public_key() == self._key.public_key()
        except (ValueError, UnsupportedAlgorithm):
            return False


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a root's serial number of 0 and the like
            found = x509.load_pem_x509_certificates(text.encode())
            for each in found:  # the library reads fields when they are asked for
                _ = each.issuer, each.subject, each.not_valid_before_utc, each.not_valid_after_utc
        return found
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
        raise InvalidChain(f"unreadable certificate: {exc}") from exc
