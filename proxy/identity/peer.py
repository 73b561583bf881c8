"""What a peer's certificate proves. The chain was verified by TLS; this reads the identity.

The DER is parsed anew here: the ssl module's view of names cuts at NUL and decodes on the way.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from proxy.identity.spiffe import InvalidSpiffeId, SpiffeId

_UNREADABLE = (
    CryptographyDeprecationWarning,
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library says of malformed certificates."""


class IdentityMismatch(Exception):
    """A certificate proves no identity, or another one than expected."""


def verify_server(leaf_der: bytes, expected: frozenset[str]) -> SpiffeId:
    """The server's identity, which must be one of those expected.

    Args:
        leaf_der: The peer's certificate, as `getpeercert(binary_form=True)` gives it.
        expected: SPIFFE ids, written: the workload's and its service's alternative names.

    Raises:
        IdentityMismatch: Not exactly one SPIFFE id, a CA's certificate, or somebody else's.
    """
    found = leaf_identity(leaf_der)
    if str(found) not in expected:
        raise IdentityMismatch(f"server is {found}, expected {' or '.join(sorted(expected)) or 'nobody'}")
    return found


def verify_client(leaf_der: bytes, trust_domains: frozenset[str]) -> SpiffeId:
    """The client's identity, of one of these trust domains.

    Raises:
        IdentityMismatch: Not exactly one SPIFFE id, a CA's certificate, or another trust domain.
    """
    found = leaf_identity(leaf_der)
    if found.trust_domain not in trust_domains:
        raise IdentityMismatch(
            f"client {found} is of trust domain {found.trust_domain}, "
            f"expected {' or '.join(sorted(trust_domains))} (TRUST_DOMAINS names further ones)"
        )
    return found


@lru_cache(maxsize=1024)
def leaf_identity(leaf_der: bytes) -> SpiffeId:
    """The one identity of a leaf certificate. Remembered by content: peers come back.

    Source: X509-SVID sections 2 (exactly one URI SAN) and 3.2 (a leaf is no CA).
    """
    try:
        with warnings.catch_warnings():
            # What the library only warns of today (such as a serial number of 0) is malformed all the same.
            warnings.simplefilter("error", CryptographyDeprecationWarning)
            extensions = x509.load_der_x509_certificate(leaf_der).extensions
    except _UNREADABLE as exc:
        raise IdentityMismatch(f"peer's certificate cannot be read: {exc}") from exc
    return _identity(extensions)


def _identity(extensions: x509.Extensions) -> SpiffeId:
    for extension in extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise IdentityMismatch("peer's certificate is a CA's")
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as exc:
        raise IdentityMismatch("peer's certificate has no subject alternative name") from exc
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise IdentityMismatch(f"peer's certificate has {len(uris)} URI names, expected exactly one")
    try:
        return SpiffeId.parse(uris[0])
    except InvalidSpiffeId as exc:
        raise IdentityMismatch(f"peer's certificate: {exc}") from exc
