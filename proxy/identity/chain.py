"""The way from a leaf to a root, out of whatever a certificate authority puts into an answer.

Intermediates are a bag, as for every TLS library: any order, some of them twice, some of another root, the
root among them. What does not lead upwards from the leaf is not sent to peers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

MAX_CHECKS = 100
"""Signatures looked at for one answer; real ones need two to ten."""


class InvalidChain(ValueError):
    """What the certificate authority answered cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What is sent to peers, and what their own chains must end in."""

    sent: Sequence[x509.Certificate]
    """The leaf, then its issuers upwards; its root only where there is nothing between."""
    anchors: Sequence[x509.Certificate]


def find(
    leaf: x509.Certificate, bag: Iterable[x509.Certificate], roots: Iterable[x509.Certificate], *, now: float
) -> Chain:
    """Find the leaf's issuers.

    Args:
        leaf: The certificate that was asked for.
        bag: What came with it.
        roots: What the authority calls its roots. They need not have signed themselves, but be authorities:
            OpenSSL takes an anchor for good as it is, were it a workload's own certificate.
        now: Seconds since the epoch.

    Raises:
        InvalidChain: No root is reached by certificates that may issue others and are valid now, or too many
            had to be looked at.
    """
    search = _Search(datetime.fromtimestamp(now, UTC))
    anchors = [root for root in dict.fromkeys(roots) if _may_issue(root)]
    rest = dict.fromkeys(bag)
    sent, ends = [leaf], []
    for issued in sent:  # grows as it is walked
        ends += search.issuers(issued, anchors)
        for issuer in search.issuers(issued, rest):
            del rest[issuer]
            if issuer not in sent and issuer.subject != issuer.issuer:
                sent.append(issuer)
    if not ends:
        why = "".join(f"; {reason}" for reason in search.passed_over)
        raise InvalidChain(f"chain does not end in a root of the answer{why}")
    # OpenSSL would find out for itself, at each handshake, what to send behind a leaf that stands alone.
    return Chain(sent if len(sent) > 1 else [leaf, ends[0]], anchors)


class _Search:
    def __init__(self, now: datetime) -> None:
        self._now = now
        self._checks = 0
        self.passed_over: dict[str, None] = {}
        """Why some that did sign could not be used."""

    def issuers(
        self, issued: x509.Certificate, candidates: Iterable[x509.Certificate]
    ) -> list[x509.Certificate]:
        """Those of the candidates that signed a certificate and may have done so."""
        return [candidate for candidate in candidates if self._issued(issued, candidate)]

    def _issued(self, issued: x509.Certificate, issuer: x509.Certificate) -> bool:
        if issued.issuer != issuer.subject:
            return False
        self._checks += 1
        if self._checks > MAX_CHECKS:
            raise InvalidChain(f"more than {MAX_CHECKS} signatures to look at, more than is sane")
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        name = issuer.subject.rfc4514_string()
        if not _may_issue(issuer):
            self.passed_over[f"{name!r} is no authority"] = None
            return False
        if not issuer.not_valid_before_utc <= self._now < issuer.not_valid_after_utc:
            until = f"{issuer.not_valid_before_utc:%FT%TZ} to {issuer.not_valid_after_utc:%FT%TZ}"
            self.passed_over[f"{name!r} is valid from {until}"] = None
            return False
        return True


def _may_issue(certificate: x509.Certificate) -> bool:
    """Whether it is an authority's, as OpenSSL sees it.

    Version 1 cannot say so, and is for roots that signed themselves.

    Source: OpenSSL crypto/x509/v3_purp.c, check_ca.
    """
    try:
        extensions = [extension.value for extension in certificate.extensions]
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False
    for extension in extensions:
        if isinstance(extension, x509.BasicConstraints):
            return extension.ca
    if certificate.version is x509.Version.v1:
        return certificate.subject == certificate.issuer
    return any(isinstance(extension, x509.KeyUsage) and extension.key_cert_sign for extension in extensions)
